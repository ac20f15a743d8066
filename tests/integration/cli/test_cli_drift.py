"""What operators see of a provider that has changed, and how they close it."""

from typing import Any

from tests.integration.cli.evergrant import Evergrant

DRIFT = """{"early_death": {"seen_at": "2026-11-28T10:00:00+00:00", "grant_id": "00000000-0000-0000-0000-000000000001",
    "from": "on_use", "to": "immediate"}}"""
SHORTER = """{"shorter_life": {"seen_at": "2026-11-28T11:00:00+00:00", "to": 900.0, "from": 7200.0,
    "grant_id": "00000000-0000-0000-0000-000000000001"}}"""


def _drifted(sql: Any, drift: str = DRIFT) -> None:
    sql("update evergrant.clients set drift = cast(:drift as jsonb), rotation = 'immediate'", drift=drift)


def test_what_contradicted_the_profile_is_told_with_what_came_of_it(temple: Evergrant, sql: Any) -> None:
    assert temple("clients", "show", "temple", "--json").json["drift"] == []
    _drifted(sql)
    (shown,) = temple("clients", "show", "temple", "--json").json["drift"]
    assert (shown["what"], shown["from"], shown["to"]) == ("early_death", "on_use", "immediate")
    assert "an old refresh token died before its time (on_use to immediate" in temple("clients", "show", "temple").out


def test_status_tells_it_and_what_to_do(temple: Evergrant, sql: Any) -> None:
    _drifted(sql)
    found = temple("status", "--json").json
    (told,) = [each for each in found["attention"] if each["what"].startswith("temple has changed")]
    assert "evergrant clients probe-rotation temple" in told["next"]
    assert found["clients"][0]["rotation"] == "immediate"
    assert [each["what"] for each in found["clients"][0]["drift"]] == ["early_death"]


def test_a_shorter_life_is_told_in_seconds(temple: Evergrant, sql: Any) -> None:
    _drifted(sql, SHORTER)
    assert "7200 s to 900 s" in temple("clients", "show", "temple").out
    (told,) = [each for each in temple("status", "--json").json["attention"] if "temple has changed" in each["what"]]
    assert told["next"].startswith("nothing")


def test_only_a_rotation_that_is_set_anew_closes_it(temple: Evergrant, sql: Any) -> None:
    _drifted(sql)
    sql("update evergrant.clients set drift_watch = '{\"killed\": []}'")
    temple("clients", "set", "temple", "--rate", "50/minute")
    assert sql("select drift is not null, drift_watch is not null from evergrant.clients") == [(True, True)]
    done = temple("clients", "set", "temple", "--rotation", "on_use", "--json")
    assert (done.json["rotation"], done.json["drift"]) == ("on_use", [])
    assert sql("select drift, drift_watch from evergrant.clients") == [(None, None)]


def test_what_a_provider_does_after_its_grace_is_resolved(temple: Evergrant, sql: Any) -> None:
    temple("clients", "set", "temple", "--rotation", "grace", "--grace", "30s")
    assert sql("select after_grace from evergrant.clients") == [("family",)]
    sql('update evergrant.clients set overrides = overrides || \'{"after_grace": "immediate"}\'')
    temple("clients", "set", "temple")
    assert sql("select after_grace from evergrant.clients") == [("immediate",)]
    temple("clients", "set", "temple", "--rotation", "immediate")
    assert sql("select after_grace from evergrant.clients") == [(None,)]
