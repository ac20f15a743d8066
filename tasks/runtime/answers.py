"""Answers: how attempts ended, on their way to the disk and to the database, one thread for each.

Answers come from the loop thread through one queue to the journaling thread, and through another to the settling
thread: so a slow answer holds neither a Celery thread nor its neighbours' commit, a slow database holds no answer back
from the disk, and answers that arrive together share one fsync and one transaction.
"""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from uuid import UUID

import structlog

from tasks.runtime.admission import Admission
from tasks.runtime.attempt import Arrived
from tasks.runtime.parked import Parked

log = structlog.get_logger()

GROUP = 200  # answers that share a transaction at most
LOOK_AT_PARKED = 0.25  # seconds between two tries of what was parked, where nothing else arrives

GroupWork = Callable[[list[Arrived]], None]
"""What is done with a group of answers."""


class Answers:
    """The answers of this process that are not done with."""

    def __init__(self, admission: Admission) -> None:
        self.parked = Parked()
        self.refused: set[UUID] = set()  # grants of which the journal holds answers that the database refused
        self._admission = admission
        self._arrivals: SimpleQueue[Arrived | None] = SimpleQueue()
        self._journaled: SimpleQueue[Arrived | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def arrive(self, arrived: Arrived) -> None:
        """Hand over how an attempt ended; the journaling thread takes it from here."""
        self._arrivals.put(arrived)

    def start(self, *, journal: GroupWork, settle: GroupWork) -> None:
        """Start both threads."""
        for name, run, work in (("journal", self._journal_all, journal), ("settle", self._settle_all, settle)):
            thread = threading.Thread(target=run, args=(work,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Let the threads end once they are through with what has arrived."""
        self._arrivals.put(None)
        for thread in self._threads:
            thread.join(10)

    def _journal_all(self, journal: GroupWork) -> None:
        while (first := self._arrivals.get()) is not None:
            group = [first, *waiting(self._arrivals)]
            _tried("keep.failed", journal, group)
            for arrived in group:
                self._journaled.put(arrived)
        self._journaled.put(None)

    def _settle_all(self, settle: GroupWork) -> None:
        while (group := self._next_group()) is not None:
            _tried("settle.failed", settle, group)
            self._admission.settled(group)

    def _next_group(self) -> list[Arrived] | None:
        """What was journaled; nothing, where it is time to try again what was parked; None: the end."""
        try:
            first = self._journaled.get(timeout=LOOK_AT_PARKED if self.parked else None)
        except Empty:
            return []
        return None if first is None else [first, *waiting(self._journaled)]


def waiting(queue: "SimpleQueue[Arrived | None]") -> list[Arrived]:
    """What more stands in a queue, for one group."""
    group: list[Arrived] = []
    while len(group) < GROUP:
        try:
            arrived = queue.get_nowait()
        except Empty:
            break
        if arrived is None:
            queue.put(None)
            break
        group.append(arrived)
    return group


def _tried(failure: str, work: GroupWork, group: list[Arrived]) -> None:
    """Do it; the thread survives whatever is wrong with a group."""
    try:
        work(group)
    except Exception:
        log.exception(failure, jobs=[str(each.attempt.job.grant_id) for each in group])
