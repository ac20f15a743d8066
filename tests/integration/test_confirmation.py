"""Confirming: a new access token is presented once after its commit, so that its predecessors die."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

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
