"""A worker process's workplace: its keys, its loop thread, its journal, and what it has under way.

Made lazily, once a process, after any fork. Jobs are handed to the loop thread and their answers come back
through one queue to one keeping thread, which journals them, and through another to one settling thread: so a slow
answer holds neither a Celery thread nor its neighbours' commit, a slow database holds no answer back from the disk,
and answers that arrive together share one fsync and one transaction.
"""

import os
import socket
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from queue import Empty, SimpleQueue
from typing import Self
from uuid import UUID

import structlog

import settings as configuration
from models import journal as register
from models.claim import Job
from models.database import transaction
from models.sealing.vault import Vault
from tasks.journal import Journal, journal_ids
from tasks.oauth.transport import Transport
from tasks.policy.window import FRESH, Window, grown, halved, is_late
from tasks.runtime import clock
from tasks.runtime.attempt import Arrived, Attempt
from tasks.runtime.parked import Parked
from tasks.runtime.registration import Registrations

log = structlog.get_logger()

GROUP = 200  # answers that share a transaction at most
# Jobs that this process has begun: a message that soon comes once more costs nothing. A later one the start refuses by
# its claim number. (350 bytes each: a hundred thousand of them were a quarter of a worker's memory.)
REMEMBERED = 10_000
LOOK_AT_PARKED = 1.0  # seconds between two tries of what was parked, where nothing else arrives
PATIENCE = timedelta(seconds=2)  # of a message, with a client that has its share of the requests
STALLED = timedelta(seconds=1)  # it has its share, and nothing came back for so long: no patience
WHOLE_DEADLINE = timedelta(seconds=60)  # of a shutdown: longer than any attempt


Work = Callable[["Workplace", list[Arrived]], None]
"""What is done with a group of answers."""


class Workplace:
    """Everything that a process needs to carry out jobs."""

    def __init__(self, settings: configuration.Settings, journal: Journal, vault: Vault) -> None:
        self.settings = settings
        self.vault = vault
        self.journal = journal
        self.registrations = Registrations(vault, settings)
        self.transport = Transport()
        self.stopping = threading.Event()
        self.giving_up = threading.Event()
        self.consumed_at = clock.boot()
        self.tick: UUID | None = None  # the newest that this process has seen in the database
        # Whether the last look found a database that may be worked with (tasks/settling/recover.py). One that was unfit
        # may be adopted at any moment: until this process has looked again it starts nothing.
        self.fit = True
        self._room = threading.Condition()
        self._under_way: Counter[int] = Counter()
        self._begun: OrderedDict[Job, None] = OrderedDict()
        self._shut: dict[int, timedelta] = {}
        self._reserved: Counter[int] = Counter()
        self._windows: dict[int, Window] = {}
        self._settled_at: dict[int, timedelta] = {}
        self._arrivals: SimpleQueue[Arrived | None] = SimpleQueue()
        self._kept: SimpleQueue[Arrived | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self.parked = Parked()
        self.refused: set[UUID] = set()  # grants of which the journal holds answers that the database refused
        self._afterwards = ThreadPoolExecutor(max_workers=2, thread_name_prefix="afterwards")

    @classmethod
    def open(cls, settings: configuration.Settings) -> Self:
        """Register a journal and hold it.

        Raises:
            KeysError: a key ring cannot be used.
            OperationalError: the database is away.
            JournalBroken: the home cannot be written.

        """
        vault = Vault.from_settings(settings)
        folder = settings.home / "journals"
        with ExitStack() as undo:
            # Held before its number is committed: one that a kill left without a folder would be waited for after a
            # restore, and nobody could ever drain it.
            with transaction() as connection:
                journal_id = register.register(
                    connection,
                    host=socket.gethostname(),
                    process=str(os.getpid()),
                    above=max(journal_ids(folder), default=0),
                )
                journal = Journal.open(folder, journal_id, vault=vault)
                undo.callback(journal.close, drained=True)
            undo.pop_all()
        return cls(settings, journal, vault)

    @property
    def journal_id(self) -> int:
        """The number of this process's journal."""
        return self.journal.journal_id

    # What is under way

    def once(self, jobs: Sequence[Job]) -> list[Job]:
        """Those of `jobs` that this process has not begun yet; from now on it has."""
        self.consumed_at = clock.boot()
        with self._room:
            fresh = [job for job in dict.fromkeys(jobs) if job not in self._begun]
            self._begun.update(dict.fromkeys(fresh))
            while len(self._begun) > REMEMBERED:
                self._begun.popitem(last=False)
        return fresh

    def wait_for_room(self, count: int) -> bool:
        """Wait until `count` more requests fit, and the journal can be written; False: the process is stopping.

        A Celery thread that waits here consumes nothing, so the work goes to other processes.
        """
        with self._room:
            while not self.stopping.is_set():
                fits = self._under_way.total() + count <= max(self.settings.in_flight, count)
                if fits and self.journal.check_writable() is None:
                    return True
                self._room.wait(1)
        return False

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
        while not (fits := self._fits_share(client_id, count)) and not self.stopping.is_set():
            settled_at = self._settled_at.get(client_id, begun)
            left = min(begun + PATIENCE, settled_at + STALLED) - clock.boot()
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
        return max(self.settings.in_flight // 2, 1)

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

    def arrive(self, arrived: Arrived) -> None:
        """Hand over how an attempt ended; the keeping thread takes it from here."""
        self._arrivals.put(arrived)

    def later(self, work: Callable[[], None]) -> None:
        """Do something of no haste beside the settling thread, if the process is not stopping."""
        if not self.stopping.is_set():
            self._afterwards.submit(_told(work))

    # The keeping and the settling thread

    def settle_with(self, keep: Work, settle: Work) -> None:
        """Start both threads."""
        for name, run, work in (("keep", self._keep_all, keep), ("settle", self._settle_all, settle)):
            thread = threading.Thread(target=run, args=(work,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _keep_all(self, keep: Work) -> None:
        while (first := self._arrivals.get()) is not None:
            group = [first, *waiting(self._arrivals)]
            _tried("keep.failed", keep, self, group)
            for arrived in group:
                self._kept.put(arrived)
        self._kept.put(None)

    def _settle_all(self, settle: Work) -> None:
        while (group := self._next_group()) is not None:
            _tried("settle.failed", settle, self, group)
            self.settled(group)

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

    def _next_group(self) -> list[Arrived] | None:
        """What was kept; nothing, where it is time to try again what was parked; None: the end."""
        try:
            first = self._kept.get(timeout=LOOK_AT_PARKED if self.parked else None)
        except Empty:
            return []
        return None if first is None else [first, *waiting(self._kept)]

    # The end

    def stop(self) -> None:
        """Begin nothing any more; what is under way goes on."""
        self.stopping.set()

    def close(self) -> None:
        """Wait for what is under way, settle it, and let the journal go."""
        self.stop()
        with self._room:
            quiet = self._room.wait_for(lambda: self._under_way.total() == 0, WHOLE_DEADLINE.total_seconds())
        if not quiet:
            log.warning("worker.left_under_way", count=self._under_way.total())
            self.giving_up.set()
        self._afterwards.shutdown(wait=True, cancel_futures=True)
        self.transport.close()
        self._arrivals.put(None)
        for thread in self._threads:
            thread.join(10)
        self._leave_journal()

    def _leave_journal(self) -> None:
        if self.journal.close(drained=True):
            try:
                with transaction() as connection:
                    register.drained(connection, self.journal_id)
            except Exception:
                log.exception("journal.drained_not_recorded", journal_id=self.journal_id)


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


def _tried(failure: str, work: Work, place: Workplace, group: list[Arrived]) -> None:
    """Do it; the thread survives whatever is wrong with a group."""
    try:
        work(place, group)
    except Exception:
        log.exception(failure, jobs=[str(each.attempt.job.grant_id) for each in group])


def _told(work: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        try:
            work()
        except Exception:
            log.exception("afterwards.failed")

    return run


_here: tuple[int, Workplace] | None = None
_making = threading.Lock()


def here(keep: Work, settle: Work) -> Workplace:
    """The workplace of this process, made at the first call (after any fork).

    Raises:
        KeysError, OperationalError, JournalBroken: see `Workplace.open`.

    """
    global _here  # noqa: PLW0603  # one workplace a process is the point
    with _making:
        if _here is None or _here[0] != os.getpid():
            made = Workplace.open(configuration.current())
            made.settle_with(keep, settle)
            _here = (os.getpid(), made)
        return _here[1]


def leave(*, stop_only: bool = False) -> None:
    """Stop or close the workplace of this process, if it has one."""
    global _here  # noqa: PLW0603
    if _here is None or _here[0] != os.getpid():
        return
    if stop_only:
        _here[1].stop()
        return
    _here[1].close()
    _here = None
