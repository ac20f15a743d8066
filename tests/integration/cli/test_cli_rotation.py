"""`evergrant clients probe-rotation` against a simulated provider of each profile, over real HTTP."""

from collections.abc import Callable
from typing import Any

import pytest

import settings
from models.sealing.vault import Vault
from simulator.control import SimulatorControl, as_json_lines
from tasks.journal import left_behind, take_over
from tests.integration.cli.evergrant import Done, Evergrant

PROFILES = ["none", "on_use", "until_next_refresh", "grace:30", "immediate", "family"]
Probe = Callable[..., Done]


@pytest.fixture
def probe(connected: Evergrant, provider: SimulatorControl) -> Probe:
    """Probe a provider of this profile with a grant `a`, beside a grant `b` that nobody may touch."""

    def carry_out(profile: str, *options: str, **habits: Any) -> Done:
        provider.configure(habits={"profile": profile, **habits})
        rows = provider.mint("simulated-client", refs=["a", "b"])
        connected("grants", "import", "-", "--client", "sim", stdin=as_json_lines(rows))
        for words in options:
            assert connected(*words.split()).code == 0
        return connected("clients", "probe-rotation", "sim", "--ref", "a", "--yes", "--json")

    return carry_out


def _refresh_token(sql: Any, ref: str) -> str:
    ((grant_id, sealed),) = sql("select id, sealed_refresh_token from evergrant.grants where ref = :ref", ref=ref)
    vault = Vault.from_settings(settings.current())
    return vault.open(sealed, table="grants", row_id=grant_id, purpose="refresh")


@pytest.mark.parametrize("configured", ["on_use", "family"])
@pytest.mark.parametrize("profile", PROFILES)
def test_each_profile_is_found_whatever_the_client_is_set_to(
    probe: Probe, provider: SimulatorControl, sql: Any, profile: str, configured: str
) -> None:
    name = profile.partition(":")[0]
    done = probe(profile, f"clients set sim --rotation {configured}")
    assert (done.code, done.json["finding"], done.json["configured"]) == (0, name, configured)
    assert done.json["agrees"] is (name == configured)
    change = f"evergrant clients set sim --rotation {name}" + (" --grace SECONDS" if name == "grace" else "")
    assert done.json["next"] == (None if name == configured else change)
    assert done.json["grant_usable"] is (profile != "family")
    assert [each["ref"] for each in provider.lost()] == (["a"] if profile == "family" else [])


@pytest.mark.parametrize("profile", PROFILES)
def test_what_the_row_holds_lives_and_every_other_living_pair_is_kept(
    probe: Probe, provider: SimulatorControl, sql: Any, profile: str
) -> None:
    probe(profile)
    ((grant,),) = (provider.grants("a"),)
    living = {each["pair"] for each in grant["pairs"] if each["refresh_alive"]}
    kept = {_refresh_token(sql, "a"), *_former_tokens(sql)}
    held = {each["pair"] for each in grant["pairs"] if each["refresh_token"] in kept}
    assert living <= held
    assert bool(living) is (profile != "family")
    assert provider.requests(ref="b") == []


def _former_tokens(sql: Any) -> list[str]:
    vault = Vault.from_settings(settings.current())
    rows = sql("select grant_id, sealed_refresh_token from evergrant.former_tokens")
    return [vault.open(sealed, table="grants", row_id=grant_id, purpose="refresh") for grant_id, sealed in rows]


def test_a_grace_that_ends_while_it_is_looked_at_is_no_on_use(probe: Probe, provider: SimulatorControl) -> None:
    provider.add_fault("delay", where="api", delay_seconds=3.2)
    assert probe("grace:3", reuse_ends_family=False).json["finding"] == "grace"


def test_a_grant_that_is_being_refreshed_just_now_is_waited_for(
    connected: Evergrant, provider: SimulatorControl, sql: Any
) -> None:
    """As it is after every import: what is due is refreshed at once."""
    rows = provider.mint("simulated-client", refs=["a"])
    connected("grants", "import", "-", "--client", "sim", stdin=as_json_lines(rows))
    sql("update evergrant.grants set claimed_at = clock_timestamp(), due_at = clock_timestamp() + interval '0.5 s'")
    done = connected("clients", "probe-rotation", "sim", "--ref", "a", "--yes", "--json")
    assert (done.code, done.json["finding"]) == (0, "on_use")


def test_every_request_takes_a_slot_and_every_token_set_is_journaled(
    probe: Probe, provider: SimulatorControl, sql: Any
) -> None:
    done = probe("on_use", "clients set sim --rate 600/minute")
    assert sql("select slot_no from evergrant.valves") == [(done.json["requests"],)]
    assert done.json["requests"] == len(provider.requests(ref="a")) == 7
    vault, folder = Vault.from_settings(settings.current()), settings.current().home / "journals"
    (found,) = left_behind(folder)
    journal = take_over(folder, found.journal_id, vault=vault)
    assert [kept.settled for kept in journal.entries()] == [True] * 4
    journal.close()


def test_a_paused_grant_stays_paused_and_nothing_is_left_under_way(probe: Probe, sql: Any) -> None:
    assert probe("immediate", "grants pause a").json["finding"] == "immediate"
    assert sql("select status, generation, started_at, claimed_at from evergrant.grants where ref = 'a'") == [
        ("paused", 3, None, None)
    ]


def test_a_grant_that_the_repeat_killed_is_told_and_no_verdict_is_made_up(probe: Probe, sql: Any) -> None:
    done = probe("family", "clients set sim --rotation family")
    assert done.json["grant_usable"] is False
    ((status, suspect),) = sql("select status, suspect_at is not null from evergrant.grants where ref = 'a'")
    assert (status, suspect) == ("active", True)
    assert sql("select count(*) from evergrant.dead_letters") == [(0,)]


def test_without_an_address_on_use_and_grace_stay_one(probe: Probe, connected: Evergrant, sql: Any) -> None:
    sql('update evergrant.clients set overrides = overrides || \'{"api_url": null, "confirm_url": null}\'')
    done = probe("on_use")
    assert (done.code, done.json["finding"], done.error) == (1, "on_use_or_grace", "rotation_on_use_or_grace")
    assert done.json["next"] is None


@pytest.mark.parametrize("count", [1, 2])
def test_an_answer_that_says_nothing_ends_the_probe_and_leaves_the_grant_in_doubt(
    probe: Probe, provider: SimulatorControl, sql: Any, count: int
) -> None:
    for _ in range(count - 1):
        provider.add_fault("delay", where="token", count=1)
    provider.add_fault("status", where="token", when="before", status=502, body="<html>")
    done = probe("immediate")
    assert (done.code, done.json["finding"], done.json["reason"]) == (75, "unclear", "http_502")
    assert done.json["grant_usable"] is None
    assert sql("select doubt_since is not null, started_at from evergrant.grants where ref = 'a'") == [(True, None)]


@pytest.mark.parametrize(("status", "usable"), [(429, True), (503, None), (403, None)])
def test_a_provider_that_only_asks_to_wait_leaves_the_grant_as_usable_as_it_was(
    probe: Probe, provider: SimulatorControl, status: int, usable: bool | None
) -> None:
    provider.add_fault("delay", where="token", count=1)
    provider.add_fault("status", where="token", when="before", status=status, body="{}")
    assert probe("immediate").json["grant_usable"] is usable


def test_nothing_is_sent_for_a_grant_that_is_under_way_in_doubt_or_held_back(
    probe: Probe, connected: Evergrant, provider: SimulatorControl, sql: Any
) -> None:
    sql("update evergrant.valves set paused_by_operator = true")
    assert probe("family").json["reason"] == "client_is_paused"
    sql("update evergrant.valves set paused_by_operator = false")
    for change in ("started_at = clock_timestamp()", "started_at = null, doubt_since = clock_timestamp()"):
        sql(f"update evergrant.grants set {change}, due_at = clock_timestamp() + interval '1 h'")  # noqa: S608
        done = connected("clients", "probe-rotation", "sim", "--ref", "a", "--yes", "--json")
        assert (done.code, done.json["requests"], done.json["grant_usable"]) == (75, 0, None)
    assert provider.requests(endpoint="token") == []


def test_a_pair_that_another_ref_holds_is_left_alone(
    connected: Evergrant, provider: SimulatorControl, probe: Probe, sql: Any
) -> None:
    rows = provider.mint("simulated-client", refs=["a", "b"])
    connected("grants", "import", "-", "--client", "sim", stdin=as_json_lines(rows))
    sql("update evergrant.grants set refresh_fingerprint = 'x'")
    done = connected("clients", "probe-rotation", "sim", "--ref", "a", "--yes", "--json")
    assert (done.code, done.error) == (1, "pair_shared")
    assert provider.requests(endpoint="token") == []
    assert sql("select count(*) from evergrant.grants where claimed_at is not null") == [(0,)]


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        ("clients probe-rotation temple --ref a", 2, "needs_yes"),
        ("clients probe-rotation temple --ref nobody --yes", 4, "unknown_ref"),
        ("clients probe-rotation nobody --ref a --yes", 4, "unknown_client"),
        ("clients probe-rotation other --ref a --yes", 4, "unknown_ref"),
    ],
)
def test_only_a_grant_of_this_client_is_probed_and_only_after_a_yes(
    temple: Evergrant, words: str, code: int, error: str
) -> None:
    temple("clients", "add", "other", "--provider", "generic", "--client-id", "x")
    temple.take_in("a")
    done = temple(*words.split(), "--json")
    assert (done.code, done.error) == (code, error)
