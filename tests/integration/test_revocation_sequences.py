"""What providers do with a revocation, and what may be said afterwards: judged by the provider's own ledger."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from models import redrive
from models.database import transaction
from models.views import history
from simulator.control import SimulatorControl
from tasks.runtime import clock
from tasks.settling import confirm
from tests.harness import Harness
from tests.integration.revoking import (
    ORG,
    ask,
    chain,
    client_of,
    confirm_registration,
    end,
    found,
    living,
    mint,
    revoke,
    stray,
)

Eventually = Callable[..., Any]
MORE_THAN_KEPT = 23


def because(harness: Harness) -> list[str]:
    """Why the end is no better known, as the event tells."""
    told: list[str] = harness.one("select data from evergrant.events where type = 'grant.revoked'")["data"]["because"]
    return told


@pytest.mark.parametrize("probe", [True, False])
def test_a_predecessor_that_fell_out_may_live_and_the_end_is_accepted(
    harness: Harness, simulator: SimulatorControl, *, probe: bool
) -> None:
    client = client_of(harness, simulator, probe=probe)
    chain(harness, simulator, client, MORE_THAN_KEPT)
    assert revoke(harness, client)["evidence"] == "accepted"
    assert because(harness) == ["predecessors_dropped"]
    assert living(simulator)


def test_that_one_fell_out_is_remembered_when_all_the_others_are_dead_and_forgotten(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator)
    grant = chain(harness, simulator, client, MORE_THAN_KEPT)
    harness.set(grant, due_at=clock.wall() + timedelta(hours=1))
    confirm.confirm(harness.runtime, confirm_registration(harness, simulator, client), [grant])
    assert harness.formers(grant) == {}
    assert revoke(harness, client)["evidence"] == "accepted"
    assert living(simulator)


@pytest.mark.parametrize("probe", [True, False])
@pytest.mark.parametrize("length", [1, 3])
def test_a_grant_that_its_user_revoked_already_is_seen_to_be_dead(
    harness: Harness, simulator: SimulatorControl, length: int, *, probe: bool
) -> None:
    client = client_of(harness, simulator, probe=probe)
    chain(harness, simulator, client, length)
    simulator.revoke_as_user("customer")
    assert revoke(harness, client)["evidence"] == "verified"
    assert living(simulator) == []


@pytest.mark.parametrize("probe", [True, False])
def test_a_chain_of_which_every_access_token_has_expired_is_dead_to_the_last(
    harness: Harness, simulator: SimulatorControl, eventually: Eventually, *, probe: bool
) -> None:
    """Each is used though it opens nothing; the present pair is refreshed first and then used, too."""
    client = client_of(harness, simulator, probe=probe)
    simulator.configure(lifetime=2)
    pair = mint(simulator, lifetime=2)
    harness.grant(client, pair=pair, labels=ORG, access_left=timedelta(seconds=1))
    for _ in range(3):
        harness.later(minutes=2)
        ask(harness, client)
    assert len(living(simulator)) == 4
    eventually(lambda: [each["access_alive"] for each in simulator.grants("customer")[0]["pairs"]] == [False] * 4)
    harness.later(minutes=2)
    assert revoke(harness, client, apart=0)["evidence"] == "verified"
    assert living(simulator) == []


def test_an_access_token_that_ended_sooner_than_we_knew_is_no_proof_of_a_revocation(
    harness: Harness, simulator: SimulatorControl, eventually: Eventually
) -> None:
    """Doorkeeper answers 200 and does nothing, and then the API says 401 because it has expired."""
    client = client_of(harness, simulator, probe=False)
    pair = mint(simulator, lifetime=1)
    harness.grant(client, pair=pair, labels=ORG)
    eventually(lambda: not simulator.judge({"customer": pair["access_token"]})["customer"]["alive"])
    assert revoke(harness, client, apart=0)["evidence"] == "verified"
    assert living(simulator) == []


@pytest.mark.parametrize("length", [1, 3])
def test_an_api_that_answers_401_to_everything_proves_nothing(
    harness: Harness, simulator: SimulatorControl, length: int
) -> None:
    client = client_of(harness, simulator, probe=False)
    chain(harness, simulator, client, length)
    simulator.add_fault("status", where="api", when="before", status=401)
    assert revoke(harness, client, apart=0)["evidence"] == "accepted"
    assert because(harness) == ["no_way_to_look"]
    assert living(simulator) == []


def test_a_predecessor_is_not_called_dead_where_somebody_before_the_provider_answered(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator)
    chain(harness, simulator, client, 3)
    simulator.add_fault("status", where="api", when="before", status=401)
    revoke(harness, client, looks=3)
    assert living(simulator) == []
    assert found(harness)["evidence"] == "verified"


NO_ANSWERS = [
    {"act": "status", "status": 500},
    {"act": "html"},
    {"act": "drop"},
    {"act": "hang", "hang_seconds": 3},
]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("fault", NO_ANSWERS, ids=lambda fault: str(fault["act"]))
def test_an_answer_that_says_nothing_is_asked_for_again(
    harness: Harness, simulator: SimulatorControl, fault: dict[str, Any], when: str
) -> None:
    client = client_of(harness, simulator, deadline_seconds=0.3)
    harness.grant(client, pair=mint(simulator), labels=ORG)
    simulator.add_fault(**fault, where="revoke", when=when, count=1)
    harness.run("select evergrant.request_revocation('customer')")
    end(harness, client)
    assert (found(harness)["status"], found(harness)["attempts"]) == ("queued", 1)
    assert found(harness)["last_error_code"] is not None
    harness.later(minutes=6)
    end(harness, client)
    assert found(harness)["evidence"] == "verified"
    assert living(simulator) == []


def test_a_revocation_that_was_given_up_is_sent_back_by_redrive(harness: Harness, simulator: SimulatorControl) -> None:
    client = client_of(harness, simulator)
    grant = harness.grant(client, pair=mint(simulator), labels=ORG, access_left=timedelta(days=3))
    simulator.set_secret("app", "another")
    harness.run("select evergrant.request_revocation('customer')")
    end(harness, client)
    harness.later(hours=25)
    harness.run("update evergrant.valves set paused_until = null")
    end(harness, client)
    assert found(harness)["status"] == "dead"
    simulator.set_secret("app", "s3cret")
    letter = harness.one("select id from evergrant.dead_letters where grant_id = :id", id=grant)["id"]
    with transaction() as connection:
        assert [each.done for each in redrive.redrive(connection, [letter], who="tests")] == [True]
    harness.run("update evergrant.valves set paused_until = null")
    end(harness, client)
    assert (found(harness)["status"], found(harness)["evidence"]) == ("done", "verified")
    assert harness.letters(grant) == []
    assert living(simulator) == []


def test_a_surplus_pair_that_is_gone_already_costs_no_verdict(harness: Harness, simulator: SimulatorControl) -> None:
    client = client_of(harness, simulator)
    grant = harness.grant(client, pair=mint(simulator), labels=ORG)
    stray(harness, grant, mint(simulator, "second"), expired=True)
    simulator.revoke_as_user("second")
    assert revoke(harness, client, apart=0)["evidence"] == "verified"
    assert (living(simulator), living(simulator, "second")) == ([], [])


def replaced_once(harness: Harness, simulator: SimulatorControl, **habits: Any) -> tuple[int, UUID]:
    """A client and a grant whose first access token was replaced, and lives on at the provider."""
    simulator.configure(profile="immediate", habits={"old_access_token_lives": True})
    client = client_of(harness, simulator, rotation="family", **habits)
    grant = harness.grant(client, pair=mint(simulator), labels=ORG)
    ask(harness, client)
    assert living(simulator) == [1, 2]
    return client, grant


def test_an_access_token_that_was_replaced_lives_on_where_a_revocation_kills_one_pair_and_the_evidence_says_how_long(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client, grant = replaced_once(harness, simulator, revocation="token")
    ends = harness.row(grant)["older_access_ends_at"]
    assert revoke(harness, client)["evidence"] == "accepted"
    assert because(harness) == ["older_access_tokens"]
    assert living(simulator) == [1]
    with transaction() as connection:
        assert history.end(connection, grant) == (["older_access_tokens"], ends)


def test_once_the_access_token_that_was_replaced_has_ended_the_grant_is_known_to_be_dead(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client, grant = replaced_once(harness, simulator, revocation="token")
    harness.set(grant, older_access_ends_at=clock.wall())
    assert revoke(harness, client)["evidence"] == "verified"


def test_where_one_revocation_kills_the_whole_grant_older_access_tokens_are_no_doubt(
    harness: Harness, simulator: SimulatorControl
) -> None:
    simulator.configure(profile="family")
    client = client_of(harness, simulator, rotation="family", revocation="grant")
    harness.grant(client, pair=mint(simulator), labels=ORG)
    ask(harness, client)
    assert revoke(harness, client)["evidence"] == "verified"
    assert living(simulator) == []


def test_where_nothing_can_be_revoked_the_grant_is_blocked_until_its_last_access_token_has_ended(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client, grant = replaced_once(harness, simulator, revoke_url=None)
    harness.set(grant, access_expires_at=clock.wall(), older_access_ends_at=clock.wall() + timedelta(hours=1))
    assert revoke(harness, client, looks=1)["status"] == "queued"
    harness.later(minutes=61)
    end(harness, client)
    assert (found(harness)["status"], found(harness)["evidence"]) == ("done", "unsupported")
