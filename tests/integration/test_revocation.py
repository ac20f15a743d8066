"""Revocation over HTTP: what was revoked is really dead at the provider, and the evidence says no more than that."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from models.sealing.vault import KeyRing
from simulator.control import SimulatorControl
from tasks.runtime import clock
from tasks.runtime.meters import REVOCATIONS, Series
from tests.harness import GATEWAY, INVALID_GRANT, Harness
from tests.integration.revoking import (
    ORG,
    ask,
    chain,
    client_of,
    end,
    found,
    living,
    mint,
    revoke,
    stray,
)

Eventually = Callable[..., Any]


def test_a_grant_is_dead_at_the_provider_and_shredded_here(harness: Harness, simulator: SimulatorControl) -> None:
    client = client_of(harness, simulator)
    grant = harness.grant(client, pair=mint(simulator), labels=ORG)
    assert revoke(harness, client)["evidence"] == "verified"
    assert living(simulator) == []
    row = harness.row(grant)
    assert (row["status"], row["sealed_refresh_token"], row["sealed_access_token"]) == ("revoked", None, None)
    assert row["refresh_fingerprint"] is not None
    assert harness.events(grant_id=grant) == ["grant.revoked"]
    assert [each.grant_id for each in harness.runtime.journal.ends()] == [str(grant)]


def test_the_current_token_is_revoked_by_its_refresh_token_and_looked_at(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator)
    harness.grant(client, pair=mint(simulator), labels=ORG)
    before = REVOCATIONS.read().get(("demo", "verified"), Series([], 0))
    revoke(harness, client)
    after = REVOCATIONS.read()["demo", "verified"]
    assert sum(after.counts) == sum(before.counts) + 1
    assert 0 < after.total - before.total < 30
    assert [(r["endpoint"], r["outcome"]) for r in simulator.requests(ref="customer")] == [
        ("revoke", "revoked"),
        ("token", "invalid_grant"),
    ]


def test_a_pair_whose_access_token_has_expired_is_refreshed_before_it_is_revoked(
    harness: Harness, simulator: SimulatorControl, eventually: Eventually
) -> None:
    """Doorkeeper up to 5.8.0 answers 200 and does nothing otherwise."""
    client = client_of(harness, simulator)
    pair = mint(simulator, lifetime=2)
    harness.grant(client, pair=pair, labels=ORG, access_left=timedelta(seconds=-1))
    eventually(lambda: not simulator.judge({"customer": pair["access_token"]})["customer"]["alive"])
    assert revoke(harness, client, apart=0)["evidence"] == "verified"
    assert living(simulator) == []


def test_an_access_token_that_has_expired_before_its_time_proves_nothing(
    harness: Harness, simulator: SimulatorControl, eventually: Eventually
) -> None:
    """The provider said a year and meant two seconds: its 401 came before the revocation, which it ignored."""
    client = client_of(harness, simulator, probe=False)
    pair = mint(simulator, lifetime=2)
    harness.grant(client, pair=pair, labels=ORG, access_left=timedelta(days=365))
    eventually(lambda: not simulator.judge({"customer": pair["access_token"]})["customer"]["alive"])
    assert revoke(harness, client, apart=0)["evidence"] == "verified"
    assert living(simulator) == []


@pytest.mark.parametrize("profile", ["immediate", "on_use", "none", "family"])
def test_surplus_pairs_are_branches_of_their_own_and_each_is_freshened_once(
    harness: Harness, simulator: SimulatorControl, profile: str
) -> None:
    simulator.configure(profile=profile)
    client = client_of(harness, simulator, rotation=profile)
    grant = harness.grant(client, pair=mint(simulator), labels=ORG, access_left=timedelta(seconds=-1))
    stray(harness, grant, mint(simulator, "second"), expired=True)
    assert revoke(harness, client, apart=0)["status"] == "done"
    assert living(simulator) == []
    assert living(simulator, "second") == []
    assert len(simulator.requests(outcome="refreshed")) == 2


def test_a_chain_of_five_pairs_that_nobody_used_is_dead_to_the_last(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator)
    chain(harness, simulator, client, 5)
    assert revoke(harness, client)["evidence"] == "verified"
    assert living(simulator) == []


def test_an_attempt_whose_probe_may_have_consumed_a_token_ends_there(
    harness: Harness, simulator: SimulatorControl
) -> None:
    """Settling such an answer ends the attempt: going on, it would ask beside the next one."""
    client = client_of(harness, simulator)
    chain(harness, simulator, client, 5)
    harness.run("select evergrant.request_revocation('customer')")
    simulator.add_fault("status", where="token", when="before", status=200, body='{"error":"later"}', count=1)
    before = len(simulator.requests(endpoint="token"))
    end(harness, client)
    assert found(harness)["last_error_code"] == "still_alive"
    assert len(simulator.requests(endpoint="token")) == before + 1
    assert revoke(harness, client)["evidence"] == "accepted"  # it was in doubt
    assert living(simulator) == []


@pytest.mark.parametrize("probe", [True, False])
@pytest.mark.parametrize("unanswered", [1, 2, 3, 4])
def test_a_chain_is_not_called_dead_where_one_of_its_tokens_was_not_seen_to_be_used(
    harness: Harness, simulator: SimulatorControl, unanswered: int, *, probe: bool
) -> None:
    """Only the use of a *direct* successor kills: a look that was not answered must be made again."""
    client = client_of(harness, simulator, probe=probe)
    chain(harness, simulator, client, 5)
    for _ in range(unanswered - 1):
        simulator.add_fault("delay", where="api", count=1)
    simulator.add_fault("status", where="api", when="before", status=502, count=1)
    result = revoke(harness, client, looks=12)
    assert result["status"] == "done"
    assert living(simulator) == []
    assert result["evidence"] == "verified"


def test_a_grant_that_was_ever_in_doubt_is_accepted_and_not_verified(
    harness: Harness, simulator: SimulatorControl
) -> None:
    """The answer that was lost may have held a pair that nobody can revoke any more."""
    client = client_of(harness, simulator)
    grant = harness.grant(client, pair=mint(simulator), labels=ORG)
    harness.ask(client, GATEWAY)
    harness.until_due(grant)
    ask(harness, client)
    assert harness.row(grant)["doubt_since"] is None
    assert revoke(harness, client)["evidence"] == "accepted"


def test_where_nothing_can_be_looked_at_the_end_is_accepted(harness: Harness, simulator: SimulatorControl) -> None:
    client = client_of(harness, simulator, probe=False, api_url=None)
    harness.grant(client, pair=mint(simulator))
    assert revoke(harness, client)["evidence"] == "accepted"
    assert living(simulator) == []


def test_where_nobody_can_revoke_the_grant_is_blocked_and_lapses(harness: Harness, simulator: SimulatorControl) -> None:
    client = client_of(harness, simulator, revoke_url=None)
    grant = harness.grant(client, pair=mint(simulator), access_left=timedelta(seconds=90))
    stray(harness, grant, mint(simulator, "second"))
    harness.run("update evergrant.former_tokens set access_expires_at = now() + interval '150 s'")
    harness.run("select evergrant.request_revocation('customer')")
    end(harness, client)
    waits = found(harness)
    assert waits["status"] == "queued"
    assert waits["due_at"] - clock.wall() > timedelta(seconds=140)
    assert harness.claim(client).count == 0
    harness.later(seconds=151)
    end(harness, client)
    assert (found(harness)["evidence"], harness.row(grant)["status"]) == ("unsupported", "revoked")
    assert harness.row(grant)["sealed_refresh_token"] is None
    assert simulator.requests() == []


def test_a_403_means_the_wrong_client_and_is_tried_again_until_a_human_is_told(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator)
    grant = harness.grant(client, pair=mint(simulator), labels=ORG, access_left=timedelta(days=3))
    simulator.set_secret("app", "another")
    harness.run("select evergrant.request_revocation('customer')")
    for _ in range(4):
        end(harness, client)
        harness.later(hours=7)
        harness.run("update evergrant.valves set paused_until = null")
    end(harness, client)
    result = found(harness)
    assert (result["status"], result["last_error_http_status"]) == ("dead", 403)
    assert harness.letters(grant) == ["unauthorized_client"]
    assert harness.row(grant)["status"] == "revoking"
    assert "revocation.dead" in harness.events(grant_id=grant)
    assert len(living(simulator)) == 1
    assert harness.claim(client).count == 0


def test_where_a_withdrawn_grant_is_refused_in_a_dialect_its_revocation_ends_as_a_letter_with_that_word(
    harness: Harness, simulator: SimulatorControl
) -> None:
    """Nothing that we may ask says that it is dead: a human decides, and is told in the provider's words."""
    client = client_of(harness, simulator, probe=False)
    grant = harness.grant(client, pair=mint(simulator), labels=ORG, access_left=timedelta(seconds=-1))
    harness.run("select evergrant.request_revocation('customer')")
    for _ in range(5):
        simulator.add_fault("status", where="token", status=403, count=1)
        end(harness, client)
        harness.later(hours=7)
        harness.run("update evergrant.valves set paused_until = null")
    assert (found(harness)["status"], found(harness)["last_error_code"]) == ("dead", "http_403")
    assert harness.letters(grant) == ["http_403"]


def test_a_503_means_that_the_token_lives(harness: Harness, simulator: SimulatorControl) -> None:
    client = client_of(harness, simulator)
    harness.grant(client, pair=mint(simulator), labels=ORG)
    simulator.add_fault("status", where="revoke", status=503, count=1)
    harness.run("select evergrant.request_revocation('customer')")
    end(harness, client)
    assert (found(harness)["status"], found(harness)["last_error_code"]) == ("queued", "http_503")
    assert harness.valve(client)["paused_until"] is not None
    harness.later(minutes=6)
    end(harness, client)
    assert found(harness)["evidence"] == "verified"


def test_a_grant_that_is_found_dead_opens_the_valve_for_the_others(
    harness: Harness, simulator: SimulatorControl, eventually: Eventually
) -> None:
    """Where all that is left are revocations that were carried out unheard, one at a time would take days."""
    client = client_of(harness, simulator)
    pair = mint(simulator, lifetime=2)
    harness.grant(client, pair=pair, labels=ORG, access_left=timedelta(seconds=-1))
    eventually(lambda: not simulator.judge({"customer": pair["access_token"]})["customer"]["alive"])
    simulator.revoke_as_user("customer")
    harness.run(
        "update evergrant.valves set pause_reason = 'http_504', changed_at = clock_timestamp() - interval '2 minutes',"
        " paused_until = clock_timestamp() - interval '1 minute' where client_id = :id",
        id=client,
    )
    assert revoke(harness, client, looks=1)["status"] == "done"
    assert simulator.requests(outcome="invalid_grant") != []
    assert harness.valve(client)["paused_until"] is None


def test_a_200_that_did_nothing_is_seen_through(harness: Harness, simulator: SimulatorControl) -> None:
    client = client_of(harness, simulator)
    harness.grant(client, pair=mint(simulator), labels=ORG)
    simulator.add_fault("status", where="revoke", when="before", status=200, body="{}", count=2)
    harness.run("select evergrant.request_revocation('customer')")
    end(harness, client)
    assert (found(harness)["status"], found(harness)["last_error_code"]) == ("queued", "still_alive")
    harness.later(minutes=1)
    end(harness, client)
    harness.later(minutes=1)
    end(harness, client)
    assert found(harness)["evidence"] == "verified"
    assert living(simulator) == []


def test_an_expired_token_that_is_refused_to_unproven_credentials_is_not_taken_for_dead(
    harness: Harness, simulator: SimulatorControl, eventually: Eventually
) -> None:
    """Another client's credentials get the same `invalid_grant`, and the token lives."""
    simulator.create_client("stranger", "s3cret")
    client = client_of(harness, simulator, proven=False)
    pair = mint(simulator, lifetime=1)
    harness.grant(client, pair=pair, labels=ORG, access_left=timedelta(seconds=-1))
    harness.run("update evergrant.clients set client_id = 'stranger', updated_at = clock_timestamp()")
    eventually(lambda: not simulator.judge({"customer": pair["access_token"]})["customer"]["alive"])
    result = revoke(harness, client, looks=2)
    assert (result["status"], result["last_error_code"]) == ("queued", "invalid_grant_unproven")
    assert len(living(simulator)) == 1


def test_an_answer_that_is_lost_while_freshening_leaves_a_doubt(
    harness: Harness, simulator: SimulatorControl, eventually: Eventually
) -> None:
    client = client_of(harness, simulator)
    pair = mint(simulator, lifetime=2)
    harness.grant(client, pair=pair, labels=ORG, access_left=timedelta(seconds=-1))
    eventually(lambda: not simulator.judge({"customer": pair["access_token"]})["customer"]["alive"])
    simulator.add_fault("status", where="token", when="after", status=503, count=1)
    harness.run("select evergrant.request_revocation('customer')")
    end(harness, client)
    assert harness.one("select doubt_since from evergrant.grants")["doubt_since"] is not None
    harness.later(minutes=6)
    assert revoke(harness, client, apart=0)["evidence"] == "accepted"


def test_a_family_in_doubt_is_revoked_without_waiting_for_the_journal(
    harness: Harness, simulator: SimulatorControl
) -> None:
    """Only the use of its refresh token could do harm; to revoke it is what was asked for."""
    simulator.configure(profile="family")
    client = client_of(harness, simulator, rotation="family", probe=False)
    grant = harness.grant(client, pair=mint(simulator), labels=ORG)
    harness.set(grant, doubt_since=clock.wall(), doubt_journals=[harness.runtime.journal_id])
    assert revoke(harness, client)["evidence"] == "accepted"
    assert living(simulator) == []


@pytest.mark.parametrize("probe", [True, False])
def test_a_predecessor_that_was_refused_once_is_killed_all_the_same(
    harness: Harness, simulator: SimulatorControl, *, probe: bool
) -> None:
    """A provider that refused everybody for a minute: the grant recovered, and its predecessor had lived on, too."""
    client = client_of(harness, simulator, probe=probe)
    grant = chain(harness, simulator, client, 2)
    for _ in range(2):
        harness.until_due(grant)
        harness.ask(client, INVALID_GRANT)
    assert harness.one("select tried_at is not null as tried from evergrant.former_tokens")["tried"]
    assert revoke(harness, client)["evidence"] == "verified"
    assert living(simulator) == []


def test_a_revocation_whose_key_is_not_here_waits_unblamed_and_goes_on_when_it_is(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator)
    harness.grant(client, pair=mint(simulator), labels=ORG)
    harness.run("select evergrant.request_revocation('customer')")
    ring = harness.runtime.vault.refresh
    assert ring is not None
    try:
        harness.runtime.vault.refresh = KeyRing.parse(KeyRing.generate_line("another"))
        end(harness, client)
        assert (found(harness)["status"], found(harness)["attempts"]) == ("queued", 0)
        assert harness.claim(client).count == 0  # once a minute, not at each look
    finally:
        harness.runtime.vault.refresh = ring
    harness.later(minutes=2)
    end(harness, client)
    assert found(harness)["evidence"] == "verified"
    assert living(simulator) == []
