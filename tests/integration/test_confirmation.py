"""Confirming: a new access token is presented once after its commit, so that its predecessors die."""

import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from models.database import transaction
from models.views import unconfirmed
from simulator.control import SimulatorControl
from tasks import explain
from tasks.runtime import clock
from tasks.runtime.confirmations import IN_VAIN
from tasks.settling import confirm
from tests.harness import Harness
from tests.integration.revoking import (
    ORG,
    ask,
    chain,
    client_of,
    confirm_registration,
    living,
    mint,
)

Eventually = Callable[..., Any]


def test_a_confirmed_token_leaves_one_pair_alive_and_one_branch(harness: Harness, simulator: SimulatorControl) -> None:
    client = client_of(harness, simulator)
    grant = chain(harness, simulator, client, 4)
    registered = confirm_registration(harness, simulator, client)
    harness.later(minutes=1)
    harness.set(grant, due_at=clock.wall() + timedelta(hours=1))
    confirm.confirm(harness.runtime, registered, [grant])
    assert len(living(simulator)) == 1
    assert harness.formers(grant) == {}


def test_a_confirmation_that_was_not_answered_forgets_no_pair_that_may_live(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator)
    grant = chain(harness, simulator, client, 4)
    registered = confirm_registration(harness, simulator, client)
    harness.set(grant, due_at=clock.wall() + timedelta(hours=1))
    for n in range(3):
        simulator.add_fault("delay", where="api", count=n + 1)
        simulator.add_fault("status", where="api", when="before", status=502, count=1)
        confirm.confirm(harness.runtime, registered, [grant])
        assert len(harness.formers(grant)) + 1 >= len(living(simulator))
        simulator.clear_faults()
    confirm.confirm(harness.runtime, registered, [grant])
    assert (len(living(simulator)), harness.formers(grant)) == (1, {})


def test_a_confirmation_is_left_out_while_anything_waits_for_a_slot_and_the_next_one_makes_up_for_it(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator)
    grant = chain(harness, simulator, client, 3)
    registered = confirm_registration(harness, simulator, client)
    harness.set(grant, due_at=clock.wall() + timedelta(hours=1))
    other = harness.grant(client, "other", due_in=timedelta(seconds=-5))
    confirm.confirm(harness.runtime, registered, [grant])
    assert len(living(simulator)) == 3
    harness.set(other, due_at=clock.wall() + timedelta(hours=1))
    harness.run("select evergrant.request_revocation('other')")
    harness.run("update evergrant.revocations set due_at = due_at - interval '5 s'")
    confirm.confirm(harness.runtime, registered, [grant])
    assert len(living(simulator)) == 3
    harness.run("delete from evergrant.revocations")
    # What was due a moment ago is no backlog: in a large fleet something always is.
    harness.set(other, due_at=clock.wall())
    confirm.confirm(harness.runtime, registered, [grant])
    assert len(living(simulator)) == 1


def test_every_request_of_a_confirmation_takes_a_slot_of_the_rate(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator, rate=6)
    grant = harness.grant(client, pair=mint(simulator), labels=ORG)
    for _ in range(2):
        harness.until_due(grant)
        harness.later(minutes=1)
        ask(harness, client)
    harness.later(minutes=1)
    registered = confirm_registration(harness, simulator, client)
    harness.set(grant, due_at=clock.wall() + timedelta(hours=1))
    confirm.confirm(harness.runtime, registered, [grant])
    wait = (harness.valve(client)["next_slot_at"] - clock.wall()).total_seconds()
    assert len(living(simulator)) == 1
    assert 2 * 10 < wait < 2 * 10 / 0.9


def unreachable(harness: Harness, simulator: SimulatorControl, client: int) -> Any:
    """The client's registration, where the address of confirmations is one that nobody listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    return confirm_registration(harness, simulator, client, address=f"http://127.0.0.1:{port}/info")


def test_an_address_that_nobody_listens_at_is_told_of_and_costs_one_slot_a_try_and_then_none(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator)
    grant = chain(harness, simulator, client, 4)
    registered = unreachable(harness, simulator, client)
    harness.set(grant, due_at=clock.wall() + timedelta(hours=1))
    before = harness.valve(client)["slot_no"]
    for _ in range(IN_VAIN + 3):
        confirm.confirm(harness.runtime, registered, [grant])
    assert harness.valve(client)["slot_no"] - before == IN_VAIN
    assert len(harness.formers(grant)) == 3
    with transaction() as connection:
        (told,) = unconfirmed.failing(connection)
        why = explain.of_grant(connection, grant, settings=harness.settings)
    assert (told["client"], told["code"]) == ("demo", "connect_refused")
    (link,) = [each for each in why.chain if each.cause == "confirmations_fail"]
    assert link.since == told["since"]
    assert "(connect_refused): 3 former token sets" in link.told


def test_once_it_is_answered_again_nothing_is_told_any_more(harness: Harness, simulator: SimulatorControl) -> None:
    client = client_of(harness, simulator)
    grant = chain(harness, simulator, client, 4)
    registered = unreachable(harness, simulator, client)
    harness.set(grant, due_at=clock.wall() + timedelta(hours=1))
    for _ in range(IN_VAIN):
        confirm.confirm(harness.runtime, registered, [grant])
    answers = confirm_registration(harness, simulator, client)
    with transaction() as connection:
        assert unconfirmed.failing(connection) == []  # another address, of which nothing is known yet
    harness.run("update evergrant.clients set updated_at = created_at")
    confirm.confirm(harness.runtime, answers, [grant])
    with transaction() as connection:
        assert unconfirmed.failing(connection) == []
    assert harness.events(type="client.unconfirmed", client_id=client) == ["client.unconfirmed"]
    assert harness.events(type="client.confirmed", client_id=client) == ["client.confirmed"]
    assert harness.formers(grant) == {}
