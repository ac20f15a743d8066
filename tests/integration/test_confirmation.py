"""Confirming: a new access token is presented once after its commit, so that its predecessors die."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from simulator.control import SimulatorControl
from tasks import clock, confirm
from tests.harness import Heart
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


def test_a_confirmed_token_leaves_one_pair_alive_and_one_branch(heart: Heart, simulator: SimulatorControl) -> None:
    client = client_of(heart, simulator)
    grant = chain(heart, simulator, client, 4)
    registered = confirm_registration(heart, simulator, client)
    heart.later(minutes=1)
    heart.set(grant, due_at=clock.wall() + timedelta(hours=1))
    confirm.confirm(heart.place, registered, [grant])
    assert len(living(simulator)) == 1
    assert heart.formers(grant) == {}


def test_a_confirmation_that_was_not_answered_forgets_no_pair_that_may_live(
    heart: Heart, simulator: SimulatorControl
) -> None:
    client = client_of(heart, simulator)
    grant = chain(heart, simulator, client, 4)
    registered = confirm_registration(heart, simulator, client)
    heart.set(grant, due_at=clock.wall() + timedelta(hours=1))
    for n in range(3):
        simulator.add_fault("delay", where="api", count=n + 1)
        simulator.add_fault("status", where="api", when="before", status=502, count=1)
        confirm.confirm(heart.place, registered, [grant])
        assert len(heart.formers(grant)) + 1 >= len(living(simulator))
        simulator.clear_faults()
    confirm.confirm(heart.place, registered, [grant])
    assert (len(living(simulator)), heart.formers(grant)) == (1, {})


def test_a_confirmation_is_left_out_while_anything_waits_for_a_slot_and_the_next_one_makes_up_for_it(
    heart: Heart, simulator: SimulatorControl
) -> None:
    client = client_of(heart, simulator)
    grant = chain(heart, simulator, client, 3)
    registered = confirm_registration(heart, simulator, client)
    heart.set(grant, due_at=clock.wall() + timedelta(hours=1))
    other = heart.grant(client, "other", due_in=timedelta(seconds=-5))
    confirm.confirm(heart.place, registered, [grant])
    assert len(living(simulator)) == 3
    heart.set(other, due_at=clock.wall() + timedelta(hours=1))
    heart.run("select evergrant.request_revocation('other')")
    heart.run("update evergrant.revocations set due_at = due_at - interval '5 s'")
    confirm.confirm(heart.place, registered, [grant])
    assert len(living(simulator)) == 3
    heart.run("delete from evergrant.revocations")
    # What was due a moment ago is no backlog: in a large fleet something always is.
    heart.set(other, due_at=clock.wall())
    confirm.confirm(heart.place, registered, [grant])
    assert len(living(simulator)) == 1


def test_every_request_of_a_confirmation_takes_a_slot_of_the_rate(heart: Heart, simulator: SimulatorControl) -> None:
    client = client_of(heart, simulator, rate=6)
    grant = heart.grant(client, pair=mint(simulator), labels=ORG)
    for _ in range(2):
        heart.until_due(grant)
        heart.later(minutes=1)
        ask(heart, client)
    heart.later(minutes=1)
    registered = confirm_registration(heart, simulator, client)
    heart.set(grant, due_at=clock.wall() + timedelta(hours=1))
    confirm.confirm(heart.place, registered, [grant])
    wait = (heart.valve(client)["next_slot_at"] - clock.wall()).total_seconds()
    assert len(living(simulator)) == 1
    assert 2 * 10 < wait < 2 * 10 / 0.9
