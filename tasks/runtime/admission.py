"""Admission: which jobs may begin in this process, and when.

It begins no job twice, has no more requests under way than it has room for, and gives no client more than its share.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from models.claim import Job
from tasks.journal import Journal
from tasks.policy.window import FRESH, Window, grown, halved, is_late
from tasks.runtime import clock
from tasks.runtime.attempt import Arrived, Attempt

# Jobs that this process has begun: a message that soon comes once more costs nothing. A later one the start refuses by
# its claim number. (350 bytes each: a hundred thousand of them were a quarter of a worker's memory.)
REMEMBERED = 10_000
SHARE_PATIENCE = timedelta(seconds=2)  # of a message, with a client that has its share of the requests
STALLED = timedelta(seconds=1)  # it has its share, and nothing came back for so long: no patience


class Admission:
    """What is under way in this process, and so who may begin; its threads ask it at once."""

    def __init__(self, journal: Journal, stopping: threading.Event, *, in_flight: int) -> None:
        self.in_flight = in_flight  # requests that may be under way at a time
        self.consumed_at = clock.boot()
        self._journal = journal
        self._stopping = stopping
        self._room = threading.Condition()
        self._under_way: Counter[int] = Counter()
        self._begun: OrderedDict[Job, None] = OrderedDict()
        self._shut: dict[int, timedelta] = {}
        self._reserved: Counter[int] = Counter()
        self._windows: dict[int, Window] = {}
        self._settled_at: dict[int, timedelta] = {}

    @property
    def under_way(self) -> int:
        """How many requests are begun and not settled."""
        return self._under_way.total()

    # Before the start

    def once(self, jobs: Sequence[Job]) -> list[Job]:
        """Those of `jobs` that this process has not begun yet; from now on it has."""
        self.consumed_at = clock.boot()
        with self._room:
            fresh = [job for job in dict.fromkeys(jobs) if job not in self._begun]
            self._begun.update(dict.fromkeys(fresh))
            while len(self._begun) > REMEMBERED:
                self._begun.popitem(last=False)
        return fresh

    def forget(self) -> None:
        """Forget what was begun: where commits are missing, claims have the numbers once more that those had.

        Who remembers them would drop each new message, and its grant would wait for one lease after another.
        """
        with self._room:
            self._begun.clear()

    def wait_for_room(self, count: int) -> bool:
        """Wait until `count` more requests fit, and the journal can be written; False: the process is stopping.

        A Celery thread that waits here consumes nothing, so the work goes to other processes.
        """
        with self._room:
            while not self._stopping.is_set():
                if self.has_room(count):
                    return True
                self._room.wait(1)
        return False

    def has_room(self, count: int) -> bool:
        """Whether `count` more requests fit now, and the journal can be written."""
        fits = self.under_way + count <= max(self.in_flight, count)
        return fits and self._journal.check_writable() is None

    @contextmanager
    def share_of(self, client_id: int | None, count: int) -> Iterator[bool]:
        """Keep room for `count` requests of one client while they are begun; False: its share is taken, begin none.

        One client has half of what this process may ask at once, for others must get in, and no more than its window
        (tasks/policy/window.py). It is asked before the start: a start costs as much as a request, and a machine that
        is short of CPU would spend it on giving back what it has started (measured: 4 starts for nothing a refresh).

        Args:
            client_id: whose jobs a message says that it carries; None where an older beat does not say it.
            count: how many.

        """
        if client_id is None:
            yield True
            return
        with self._room:
            room = self._wait_for_share(client_id, count)
            if room:
                self._note_first(client_id)
                self._reserved[client_id] += count
        try:
            yield room
        finally:
            if room:
                with self._room:
                    self._reserved[client_id] -= count

    def _wait_for_share(self, client_id: int, count: int) -> bool:
        """Wait while answers come; where none do there is no patience: a thread that waits is missing to others."""
        begun = clock.boot()
        while not (fits := self._fits_share(client_id, count)) and not self._stopping.is_set():
            settled_at = self._settled_at.get(client_id, begun)
            left = min(begun + SHARE_PATIENCE, settled_at + STALLED) - clock.boot()
            if left <= timedelta(0):
                break
            # Answers arrive by the thousand a second: none of them wakes a thread.
            self._room.wait(min(left.total_seconds(), 0.02))
        return fits

    def _fits_share(self, client_id: int, count: int) -> bool:
        share = min(self._share, self._window(client_id).size)
        return self._taken(client_id) + count <= max(share, count)

    def _taken(self, client_id: int) -> int:
        return self._under_way[client_id] + self._reserved[client_id]

    def _note_first(self, client_id: int) -> None:
        """One of whom nothing was asked has not been silent."""
        if self._taken(client_id) <= 0:
            self._settled_at[client_id] = clock.boot()

    def _window(self, client_id: int) -> Window:
        return self._windows.get(client_id, FRESH)

    @property
    def _share(self) -> int:
        return max(self.in_flight // 2, 1)

    # Before the first byte

    def valve_is_shut(self, client_id: int) -> bool:
        """Whether this process has learnt since the claim that the client must wait."""
        until = self._shut.get(client_id)
        return until is not None and clock.boot() < until

    def note_valve(self, client_id: int, shut_for: timedelta | None) -> None:
        """Remember what settling made of a client's valve."""
        if shut_for is None:
            self._shut.pop(client_id, None)
        else:
            self._shut[client_id] = clock.boot() + shut_for

    # From the start to the commit

    def begin(self, attempt: Attempt) -> None:
        """Count a started attempt as under way until it is settled."""
        client_id = attempt.job.client_id
        with self._room:
            self._note_first(client_id)
            self._under_way[client_id] += 1

    def leaves(self, attempt: Attempt, *, launched_at: timedelta) -> None:
        """Note how long a request has waited for its first byte; what a race of two threads loses is one count."""
        client_id = attempt.job.client_id
        if is_late(clock.boot() - launched_at, attempt.lease):
            self.note_late(attempt)
        else:
            self._windows[client_id] = grown(self._window(client_id), most=self._share)

    def note_late(self, attempt: Attempt) -> None:
        """Take up fewer attempts of its client: this one waited here for too long, or could not be sent."""
        client_id = attempt.job.client_id
        self._windows[client_id] = halved(self._window(client_id), begun=attempt.begun, at=clock.boot())

    def settled(self, group: Sequence[Arrived]) -> None:
        """Count a group as done, and whether its first has waited for too long."""
        if group and is_late(clock.wall() - group[0].received_at, group[0].attempt.lease):
            self.note_late(group[0].attempt)
        with self._room:
            for each in group:
                client_id = each.attempt.job.client_id
                self._under_way[client_id] -= 1
                self._settled_at[client_id] = clock.boot()
            self._room.notify_all()

    def wait_until_quiet(self, patience: timedelta) -> bool:
        """Wait until nothing is under way; False: something still is when the patience is over."""
        with self._room:
            return self._room.wait_for(lambda: self.under_way == 0, patience.total_seconds())
