"""`evergrant plan` and the runway: what a fleet needs, has, and what happens if its provider stopped now."""

from pathlib import Path
from typing import Any

import pytest

import settings
from tests.integration.cli.evergrant import Evergrant


def test_it_tells_what_the_grants_that_are_kept_need_and_have(temple: Evergrant) -> None:
    temple.take_in("a", "b", "c")
    done = temple("plan", "--json")
    assert done.code == 0
    (line,) = done.lines
    assert (line["client"], line["fits"], line["grants"], line["on_demand"]) == ("temple", True, 3, 0)
    assert (line["life_seconds"], line["rate"], line["allowed_per_minute"]) == (7200, "100/minute", 95)
    assert line["refreshes_per_minute"] == pytest.approx(3 / 80, abs=0.01)
    assert 6900 < line["runway_seconds"] <= 7000
    assert line["ending"] == {"10m": 0, "20m": 0, "40m": 0}


def test_a_fleet_that_would_not_fit_exits_1_says_what_would_happen_and_touches_nothing(temple: Evergrant) -> None:
    done = temple("plan", "--grants", "9000")
    assert done.code == 1
    assert "temple: too many for 100/minute; each is renewed every 1h 34m, 14m 44s too late." in done.out
    assert "Keep some on demand" in done.out
    done = temple("plan", "--grants", "15000", "--json")
    assert done.code == 1
    assert done.json["stale_share"] == pytest.approx(0.24, abs=0.01)
    assert temple("plan", "--json").json["grants"] == 0
    assert temple("plan", "--grants", "9000", "--rate", "5/second").code == 0
    assert temple("plan", "--grants", "5000", "--life", "1h").code == 1


def test_each_grant_counts_as_it_is_kept(temple: Evergrant, sql: Any) -> None:
    temple.take_in("a", "b", "c", "d", "e", "f")
    temple("grants", "set", "a", "--keep", "on-demand")
    temple("grants", "pause", "b")
    temple("grants", "revoke", "c", "--yes")
    sql("update evergrant.grants set life = null where ref = 'd'")
    sql("update evergrant.grants set life = '1 hour' where ref = 'e'")
    found = temple("plan", "--json").json
    assert (found["grants"], found["on_demand"]) == (4, 1)
    # d by the provider's usual two hours, e by its own one, f by its own two; and one a week.
    assert found["life_seconds"] == pytest.approx(3 / (1 / 7200 + 1 / 3600 + 1 / 7200), abs=0.1)
    temple("clients", "set", "temple", "--keep", "on-demand")
    assert temple("plan", "--json").json["on_demand"] == 4
    assert temple("plan", "--grants", "100000", "--json").json["refreshes_per_minute"] == pytest.approx(9.92, abs=0.01)


def test_confirms_are_counted_where_the_provider_has_a_place_for_them(connected: Evergrant) -> None:
    found = connected("plan", "--grants", "100", "--json").json
    assert found["confirms_per_minute"] == found["refreshes_per_minute"] > 0


def test_numbers_alone_need_no_database(evergrant: Evergrant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = settings.Settings(home=tmp_path / "nothing", database_url=None, broker_url=None)
    monkeypatch.setattr("settings._current", [nothing])
    numbers = ["--grants", "5000", "--rate", "100/minute", "--life", "2h"]
    assert evergrant("plan", *numbers).code == 0
    assert evergrant("plan", *numbers, "--client", "temple").code == 75


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("--grants 5", 2, "There are 2 clients, and --grants, --rate and --life are about one; add --client NAME"),
        ("--client temple --grants 5 --rate often", 2, "is no rate"),
        ("--client temple --grants 5 --rate 0/minute", 2, "rate: must be between"),
        ("--client temple --life 0s", 2, "An access token lives longer than nothing; correct --life"),
        ("--client nobody", 4, "There is no client 'nobody'"),
    ],
)
def test_what_cannot_be_planned_is_told_in_a_sentence(temple: Evergrant, words: str, code: int, told: str) -> None:
    temple("clients", "add", "other", "--provider", "generic", "--client-id", "i")
    done = temple("plan", *words.split())
    assert (done.code, told in done.err) == (code, True), done.err


def test_the_runway_counts_the_access_tokens_that_end_if_nothing_more_is_refreshed(temple: Evergrant) -> None:
    temple.take_in("a", left=300)
    temple.take_in("b", left=900)
    temple.take_in("c", "d", left=1500)
    temple.take_in("lapsed", left=-10)
    temple.take_in("asleep", left=300)
    temple("grants", "set", "asleep", "--keep", "on-demand")
    ending = {"10m": 1, "20m": 2, "40m": 4}
    found = temple("status", "--json").json
    assert (found["ending"], found["clients"][0]["ending"]) == (ending, ending)
    assert temple("plan", "--json").json["ending"] == ending
    assert "in 10m 1   in 20m 2   in 40m 4" in temple("status").out


def test_introspections_are_counted_where_they_alone_tell_a_life(connected: Evergrant, sql: Any) -> None:
    assert connected("plan", "--grants", "100", "--json").json["introspections_per_minute"] == 0
    sql("""update evergrant.clients set updated_at = clock_timestamp(), overrides = overrides
        || '{"life_from": "introspection", "introspect_url": "https://id.example/introspect"}'""")
    found = connected("plan", "--grants", "100", "--json").json
    assert found["introspections_per_minute"] == found["refreshes_per_minute"] > 0
