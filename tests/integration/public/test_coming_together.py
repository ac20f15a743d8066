"""Customers of one client who come back in the same moment cost little more than one, and none fails with another."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event

from models import operator_actions, visit
from models.database import Lane, engine, transaction, using
from models.sealing.vault import Vault
from models.ticket import hashed
from tasks import exchange, visits
from tasks.connect_errors import ClientPaused
from tasks.exchange_group import Exchange
from tasks.visits import Leaving
from tests.harness import Harness
from tests.integration.public.browser import PUBLIC_URL
from tests.integration.public.conftest import Scene
from tests.integration.public.test_connecting import back
from tests.integration.test_neighbours_locks import stranger

ENDS = """
select t.ref, v.outcome, v.reason from evergrant.visits v join evergrant.tickets t on t.id = v.ticket_id order by t.ref
"""


def come_back(scene: Scene, *refs: str) -> list[Exchange]:
    """Come back to the listener, one after the other; returns their exchanges by ref, none of them begun."""
    for ref in refs:
        scene.browser.open(back(scene.browser, scene.link(ref)), follow=False)
    return offered(scene)


def offered(scene: Scene) -> list[Exchange]:
    with transaction() as connection:
        ids = visit.offer(connection)
    found = exchange._found(scene.harness.runtime, ids, timedelta(hours=1))
    return sorted(found, key=lambda each: each.begun.ref)


def sent(group: list[Exchange]) -> list[Exchange]:
    """Send their codes, and keep the answers; returns those that were sent."""
    steps = group[0].steps
    return [each for each, _ in steps.keep(steps.begin(group))]


def ended(group: list[Exchange]) -> list[str]:
    """Store what they came to; the refs of those that have met a lock."""
    return [each.begun.ref for each in group[0].steps.end(group)]


@contextmanager
def counted() -> Iterator[list[str]]:
    """The statements that go out meanwhile in the lane of what somebody asked for."""
    found: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        found.append(statement)

    with using(Lane.ASKED):
        watched = engine()
    event.listen(watched, "before_cursor_execute", note)
    yield found
    event.remove(watched, "before_cursor_execute", note)


@contextmanager
def refusing(scene: Scene, ref: str) -> Iterator[None]:
    """The database takes no grant of this ref meanwhile."""
    scene.harness.run(f"alter table evergrant.grants add constraint refused check (ref <> '{ref}') not valid")
    yield
    scene.harness.run("alter table evergrant.grants drop constraint refused")


def waiting(scene: Scene) -> list[str]:
    """The refs of those whose visit has not ended."""
    return [each.ref for each in scene.rows(ENDS) if each.outcome is None]


def statements_for(scene: Scene, *refs: str) -> int:
    group = come_back(scene, *refs)
    assert len(group) == len(refs)
    with counted() as statements:
        assert ended(sent(group)) == []
    return len(statements)


def test_many_who_come_back_together_take_as_many_statements_as_two(scene: Scene) -> None:
    two = statements_for(scene, "a1", "a2")
    assert statements_for(scene, *(f"b{number}" for number in range(8))) == two
    connected = [(f"{each.ref}", "connected", None) for each in scene.rows(ENDS)]
    assert [tuple(each) for each in scene.rows(ENDS)] == connected
    assert len(connected) == 10


def test_an_answer_that_the_database_refuses_fails_alone(scene: Scene) -> None:
    group = sent(come_back(scene, "a", "b", "c"))
    with refusing(scene, "b"):
        assert ended(group) == []

    assert [each.ref for each in scene.rows("select ref from evergrant.grants order by ref")] == ["a", "c"]
    assert [tuple(each)[1] for each in scene.rows(ENDS)] == ["connected", None, "connected"]


def test_a_code_that_the_provider_refuses_fails_alone(scene: Scene) -> None:
    callback = back(scene.browser, scene.link("b")).replace("code=", "code=wrong")
    scene.browser.open(callback, follow=False)

    assert ended(sent(come_back(scene, "a", "c"))) == []

    assert [tuple(each)[1] for each in scene.rows(ENDS)] == ["connected", "failed", "connected"]


def test_whoever_meets_a_strangers_lock_waits_alone(scene: Scene) -> None:
    ended(sent(come_back(scene, "b")))  # who comes once more
    group = sent(come_back(scene, "a", "b", "c"))
    with stranger("select from evergrant.grants where ref = 'b' for update"):
        assert ended(group) == ["b"]
        assert waiting(scene) == ["b"]

    (locked,) = (each for each in group if each.begun.ref == "b")
    assert locked.alike not in {each.alike for each in group if each is not locked}
    assert ended([locked]) == []
    assert waiting(scene) == []


def test_where_the_clients_valve_is_locked_nobody_is_tried_one_by_one(scene: Scene, client: int) -> None:
    group = sent(come_back(scene, "a", "b", "c", "d", "e"))
    with (
        stranger("select from evergrant.valves where client_id = %(id)s for update", id=client),
        counted() as statements,
    ):
        assert ended(group) == ["a", "b", "c", "d", "e"]
    assert len([each for each in statements if "for no key update of v" in each]) == 1
    assert ended(group) == []


def test_a_locked_visit_keeps_no_other_code_from_being_sent(scene: Scene) -> None:
    group = come_back(scene, "a", "b", "c")
    with stranger("select from evergrant.visits where id = %(id)s for update", id=group[1].waiting.id):
        taken = sent(group)
    assert [each.begun.ref for each in taken] == ["a", "c"]
    ended(taken)

    scene.harness.run("update evergrant.visits set offered_at = offered_at - interval '1 minute'")
    assert ended(sent(offered(scene))) == []
    assert [tuple(each)[1] for each in scene.rows(ENDS)] == ["connected"] * 3


def test_two_who_come_back_for_one_ref_replace_each_other_as_one_after_the_other(scene: Scene) -> None:
    assert ended(sent(come_back(scene, "a", "a", "b"))) == []

    rows = scene.rows("select ref, generation, status from evergrant.grants order by ref, generation")
    assert [tuple(each) for each in rows] == [("a", 1, "revoking"), ("a", 2, "active"), ("b", 1, "active")]


def test_of_two_to_whom_the_provider_gives_one_pair_the_second_is_refused(scene: Scene) -> None:
    group = sent(come_back(scene, "a", "b"))
    group[1].journaled = group[1].journaled._replace(answer=group[0].journaled.answer)

    assert ended(group) == []

    assert [tuple(each) for each in scene.rows(ENDS)] == [("a", "connected", None), ("b", "failed", "pair_held")]


def test_a_code_that_another_worker_took_meanwhile_is_not_sent_again(scene: Scene) -> None:
    group = come_back(scene, "a", "b")
    with transaction() as connection:
        first = exchange._found(scene.harness.runtime, [group[0].waiting.id], timedelta(hours=1))
    del connection
    assert len(sent(first)) == 1
    assert [each.begun.ref for each in sent(group)] == ["b"]
    assert len(scene.provider.requests(endpoint="token")) == 2


def test_those_of_a_client_that_was_paused_meanwhile_are_all_held(scene: Scene, client: int) -> None:
    group = come_back(scene, "a", "b")
    with transaction() as connection:
        operator_actions.pause_client(connection, client, who="tests")

    assert sent(group) == []

    assert [each.held_by for each in scene.rows("select held_by from evergrant.visits")] == ["client_paused"] * 2
    assert scene.provider.requests(endpoint="token") == []


def test_a_message_names_visits_and_what_is_none_of_them_hinders_no_other() -> None:
    ours = uuid4()
    assert list(exchange._read(["no visit", None, str(ours), 7])) == [ours]
    assert list(exchange._read("no visit")) == []


# Web


def leaving(scene: Scene, link: str, browser: bytes) -> Leaving:
    ticket = hashed(link.rpartition("/")[2])
    with transaction() as connection:
        guest = visit.by_tickets(connection, [ticket])[ticket]
    assert guest is not None
    return Leaving(guest, visits.provider_of(guest, scene.harness.settings), browser)


def test_whoever_cannot_be_sent_to_the_provider_keeps_nobody_back_who_presses_at_once(
    scene: Scene, harness: Harness
) -> None:
    paused = harness.client("paused", authorize_url=f"{scene.provider.url}/oauth/authorize", revoke_url=None)
    link = scene.link()
    here = leaving(scene, link, b"browser")
    there = leaving(scene, scene.link("other"), b"browser")
    object.__setattr__(there.guest, "client_id", paused)
    with transaction() as connection:
        operator_actions.pause_client(connection, paused, who="tests")
        found = visits.begin(
            connection,
            harness.runtime.vault,
            [here, there],
            redirect_uri=f"{PUBLIC_URL}/callback",
            environment=harness.settings.environment,
        )

    assert str(found[here]).startswith(scene.provider.url)
    assert isinstance(found[there], ClientPaused)
    used = "select ref from evergrant.tickets where used_at is not null"
    assert [each.ref for each in scene.rows(used)] == ["customer-42"]


@pytest.mark.parametrize("is_first", [True, False])
def test_of_two_browsers_that_press_in_the_same_moment_one_has_the_ticket(scene: Scene, *, is_first: bool) -> None:
    link = scene.link()
    both = [leaving(scene, link, b"mine"), leaving(scene, link, b"other")]
    vault: Vault = scene.harness.runtime.vault
    with transaction() as connection:
        found = visits.begin(
            connection, vault, both if is_first else both[::-1], redirect_uri=PUBLIC_URL, environment="test"
        )
    assert sorted(each is None for each in found.values()) == [False, True]
    assert len(scene.rows("select from evergrant.visits")) == 1
