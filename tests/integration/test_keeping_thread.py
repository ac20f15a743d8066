"""Answers reach the disk as they arrive, however long the database keeps the settling thread."""

from collections.abc import Sequence
from threading import Event

from tasks import clock
from tasks.attempt import Arrived
from tasks.settle import keep, settle
from tasks.workplace import Workplace
from tests.harness import Heart, token_set
from tests.polling import eventually


def test_an_answer_is_journaled_while_the_settling_thread_waits_for_the_database(heart: Heart) -> None:
    """A kill then costs nothing that has arrived: a database that is away for long had kept answers from the disk."""
    client = heart.client(rotation="immediate")
    grants = heart.grants(client, 3)
    attempts = heart.start(heart.claim(client).due)
    stuck, free = Event(), Event()

    def settle_later(place: Workplace, group: Sequence[Arrived]) -> None:
        stuck.set()
        assert free.wait(20)
        settle(place, group)

    heart.place.settle_with(keep, settle_later)
    for attempt in attempts:
        heart.place.begin(attempt)
    heart.place.arrive(Arrived(attempts[0], token_set("2"), clock.wall()))
    assert stuck.wait(20)
    for attempt in attempts[1:]:
        heart.place.arrive(Arrived(attempt, token_set(attempt.job.ref), clock.wall()))
    try:
        eventually(lambda: len(list(heart.place.journal.unsettled())) == 3)
    finally:
        free.set()
    eventually(lambda: [heart.row(grant)["generation"] for grant in grants] == [2, 2, 2])
    eventually(lambda: list(heart.place.journal.unsettled()) == [])
