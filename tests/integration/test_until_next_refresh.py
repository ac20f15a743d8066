"""`until_next_refresh`: the old refresh token lives until the new one is used; against a provider that does so."""

import pytest

from simulator.control import SimulatorControl
from tests.harness import INVALID_GRANT, LOST, Harness, token_set
from tests.integration.revoking import ORG, ask, client_of, living, mint, revoke, stray
from tests.polling import eventually

ROTATION = "until_next_refresh"


def test_only_the_last_predecessor_is_kept_for_the_one_before_died_by_the_use_of_its_successor(
    harness: Harness,
) -> None:
    client = harness.client(rotation=ROTATION)
    grant = harness.grant(client, token="1")
    for name in ("2", "3", "4"):
        harness.until_due(grant)
        harness.ask(client, token_set(name))
    assert harness.formers(grant) == {"rt-3": "predecessor"}
    assert not harness.row(grant)["predecessors_dropped"]


def test_an_answer_that_was_lost_is_repaired_by_asking_again(harness: Harness) -> None:
    client = harness.client(rotation=ROTATION)
    grant = harness.grant(client, token="1")
    harness.ask(client, LOST)
    harness.until_due(grant)
    attempt = harness.ask(client, token_set("2b"))
    assert harness.sent(attempt) == "rt-1"
    assert (harness.token(grant), harness.row(grant)["doubt_since"]) == ("rt-2b", None)


def test_a_suspect_presents_its_predecessor_and_what_was_refused_stays_a_branch(harness: Harness) -> None:
    client = harness.client(rotation=ROTATION)
    grant = harness.grant(client, token="1")
    harness.ask(client, token_set("2"))
    harness.until_due(grant)
    harness.ask(client, INVALID_GRANT)
    harness.until_due(grant)
    attempt = harness.ask(client, token_set("2b"))
    assert harness.sent(attempt) == "rt-1"
    assert (harness.token(grant), harness.row(grant)["generation"]) == ("rt-2b", 3)
    assert harness.formers(grant) == {"rt-1": "predecessor", "rt-2": "surplus"}


@pytest.mark.parametrize("mended", [True, False])
@pytest.mark.parametrize("expired", [0, 1, 2])
def test_a_revocation_kills_the_predecessor_too_though_a_pair_with_an_ended_access_token_may_not_be_heeded(
    harness: Harness, simulator: SimulatorControl, expired: int, *, mended: bool
) -> None:
    """`expired`: neither access token, that of the predecessor, or both."""
    simulator.configure(profile=ROTATION, habits={"mended_revocation": mended})
    client = client_of(harness, simulator, rotation=ROTATION, revocation="token", probe=True)
    first = mint(simulator, lifetime=1.0 if expired else 7200)
    if expired == 1:
        simulator.configure(lifetime=7200, lifetime_of_all=True)
    grant = harness.grant(client, pair=first, labels=ORG)
    ask(harness, client)
    if expired:
        eventually(lambda: not simulator.judge({"customer": first["access_token"]})["customer"]["alive"])
        _ended(harness, "former_tokens")
    if expired == 2:
        sealed = harness.row(grant)["sealed_access_token"]
        second = harness.runtime.vault.open(sealed, table="grants", row_id=grant, purpose="access")
        eventually(lambda: not simulator.judge({"customer": second})["customer"]["alive"])
        _ended(harness, "grants")
    simulator.configure(lifetime=7200, lifetime_of_all=True)
    done = revoke(harness, client, apart=0)
    assert (done["status"], done["evidence"]) == ("done", "accepted")  # an older access token may live
    assert living(simulator) == []


def test_a_predecessor_without_successor_is_asked_about_once(harness: Harness, simulator: SimulatorControl) -> None:
    """A row that was put back with its database, and then brought forward from a journal, has such a one."""
    simulator.configure(profile=ROTATION)
    client = client_of(harness, simulator, rotation=ROTATION, revocation="token", probe=True)
    first = mint(simulator)
    grant = harness.grant(client, pair=first, labels=ORG)
    for _ in range(3):
        harness.until_due(grant)
        ask(harness, client)
    stray(harness, grant, first, expired=True)
    harness.run("update evergrant.former_tokens set kind = 'predecessor', generation = 1 where kind = 'surplus'")
    assert revoke(harness, client, apart=0)["status"] == "done"
    assert not any(each["refresh_alive"] for each in simulator.grants("customer")[0]["pairs"])
    assert harness.row(grant)["generation"] == 4


def _ended(harness: Harness, table: str) -> None:
    ended = "access_expires_at = clock_timestamp() - interval '1 s'"
    harness.run(f"update evergrant.{table} set {ended}")  # noqa: S608
