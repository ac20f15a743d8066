"""Answers reach the disk as they arrive, however long the database keeps the settling thread."""

from collections.abc import Sequence
from threading import Event

from tasks.runtime import clock
from tasks.runtime.attempt import Arrived
from tasks.runtime.runtime import Runtime
from tasks.settling.settle import journal_answers, settle
from tests.harness import Harness, token_set
from tests.polling import eventually


def test_an_answer_is_journaled_while_the_settling_thread_waits_for_the_database(harness: Harness) -> None:
    """A kill then costs nothing that has arrived: a database that is away for long had kept answers from the disk."""
    client = harness.client(rotation="immediate")
    grants = harness.grants(client, 3)
    attempts = harness.start(harness.claim(client).due)
    stuck, free = Event(), Event()

    def settle_later(runtime: Runtime, group: Sequence[Arrived]) -> None:
        stuck.set()
        assert free.wait(20)
        settle(runtime, group)

    harness.runtime.handle_answers(journal=journal_answers, settle=settle_later)
    for attempt in attempts:
        harness.runtime.admission.begin(attempt)
    harness.runtime.answers.arrive(Arrived(attempts[0], token_set("2"), clock.wall()))
    assert stuck.wait(20)
    for attempt in attempts[1:]:
        harness.runtime.answers.arrive(Arrived(attempt, token_set(attempt.job.ref), clock.wall()))
    try:
        eventually(lambda: len(list(harness.runtime.journal.unsettled())) == 3)
    finally:
        free.set()
    eventually(lambda: [harness.row(grant)["generation"] for grant in grants] == [2, 2, 2])
    eventually(lambda: list(harness.runtime.journal.unsettled()) == [])
