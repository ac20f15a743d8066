"""Exchanges under way in a process; for each of them a customer waits in front of a page.

The database and the disk are asked on threads, the provider is not: one that takes forty seconds holds up nobody, and
no client's customers take all the room. Those that have come to the same step go on together.

begin    until their codes are sent
keep     their answers go to the journal, in a thread that waits for nothing else; perhaps something is asked about them
end      they are read and stored
"""

import threading
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final, Generic, Protocol, TypeVar

import structlog

from models.visit import LEASE
from tasks.runtime import clock
from tasks.runtime.gathering import Gathering
from tasks.runtime.threads import told

log = structlog.get_logger()

MOST_ASKED: Final = 256  # at a time: the journal has room for their answers, beside those to refreshes
MOST_OF_A_CLIENT: Final = MOST_ASKED // 2
MOST_TOGETHER: Final = 100  # in one transaction: what holds its locks for longer is felt by others
KEEPING_THREADS: Final = 1  # there is one journal
ENDING_THREADS: Final = 2  # there is one connection; while one of them waits for a lock the other reads answers
LOCKED_WAIT: Final = timedelta(seconds=1)  # of an end that meets a stranger's lock; others go first meanwhile
TRIES_END: Final = timedelta(seconds=20)  # after the deadline: see tasks/runtime/retry.py


class Exchange(Protocol):
    """One exchange. Each step is taken once, but `end` again after it has met a lock."""

    @property
    def client_id(self) -> int:
        """Whose room it takes."""

    @property
    def whose(self) -> Mapping[str, str]:
        """What a line of the log says of it."""

    @property
    def steps(self) -> "Steps":
        """What is done with it."""

    @property
    def alike(self) -> Hashable:
        """What those have in common that may end in one transaction; their steps are among it."""


@dataclass(frozen=True, slots=True)
class Sent:
    """An exchange whose code was sent: where its answer will be, and until when."""

    exchange: Any
    answered: Future[Any]
    deadline: timedelta


class Steps(Protocol):
    """What is done with exchanges that have come equally far, of which none fails with another."""

    def begin(self, group: Sequence[Any]) -> list[Sent]:
        """Send the codes of a client's customers; returns those that were sent."""

    def keep(self, group: Sequence[Sent]) -> list[tuple[Any, Future[Any] | None]]:
        """Keep the answers; returns the exchanges that go on, with what is to be waited for before, if anything is."""

    def end(self, group: Sequence[Any]) -> Sequence[Any]:
        """Read the answers, and store what they tell of; returns those that have met a stranger's lock."""


E = TypeVar("E", bound=Exchange)


class WithoutRoom(Generic[E]):
    """Those for whom there was no room, until beat offers them again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[timedelta, Sequence[E]]] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def keep(self, group: Sequence[E], *, until: timedelta) -> None:
        """Let some of one client wait."""
        with self._lock:
            self._waiting.append((until, group))

    def take(self) -> list[tuple[timedelta, Sequence[E]]]:
        """All who wait, and until when; but for whom is offered again by now."""
        with self._lock:
            taken, self._waiting = self._waiting, []
        return [(until, group) for until, group in taken if clock.boot() < until]


class Exchanges:
    """Which exchanges may begin, and the threads of their steps."""

    def __init__(self, stopping: threading.Event, *, threads: int) -> None:
        """`threads`: of those that begin."""
        self._stopping = stopping
        self._beginning = ThreadPoolExecutor(threads, thread_name_prefix="exchange-begin")
        self._keeping: Gathering[Sent] = Gathering(
            "exchange-keep",
            self._keep,
            alike=lambda each: each.exchange.steps,
            threads=KEEPING_THREADS,
            most=MOST_TOGETHER,
        )
        self._ending: Gathering[Exchange] = Gathering(
            "exchange-end", self._end, alike=lambda each: each.alike, threads=ENDING_THREADS, most=MOST_TOGETHER
        )
        self._without_room: WithoutRoom[Any] = WithoutRoom()
        self._changed = threading.Condition()
        self._asked: Counter[int] = Counter()  # by client, until the answer is kept
        self._under_way = 0
        self._answered_by = clock.boot()  # all that was asked so far

    def submit(self, work: Callable[[], object], **whose: str) -> None:
        """Begin something in a thread; what was not begun when the process ends is offered to another one."""
        if not self._stopping.is_set():
            self._beginning.submit(told(work, **whose))

    def carry_out(self, group: Sequence[E]) -> Sequence[E]:
        """Begin some of one client here and now; their other steps follow in their threads, once each is answered.

        Returns those for which there is no room: they begin when there is, if that is before they are offered again.
        """
        return self._begin(group, until=clock.boot() + LEASE)

    def _begin(self, group: Sequence[E], *, until: timedelta) -> Sequence[E]:
        entered = group[: self._enter(group[0].client_id, len(group))]
        sent: list[Sent] = []
        try:
            sent = group[0].steps.begin(entered) if entered else []
        finally:
            over = len(entered) - len(sent)
            self._give_back(group[0].client_id, over)
            self._leave(over)
        for each in sent:
            with self._changed:
                self._answered_by = max(self._answered_by, clock.boot() + each.deadline + TRIES_END)
            each.answered.add_done_callback(partial(self._go_on, self._keeping, each))
        left = group[len(entered) :]
        if left and not self._stopping.is_set():
            self._without_room.keep(left, until=until)
            if self._room(left[0].client_id):  # by now; whoever gave it back has seen nobody wait
                self.submit(self._begin_waiting)
        return left

    def _keep(self, group: Sequence[Sent]) -> None:
        kept: list[tuple[Any, Future[Any] | None]] = []
        try:
            kept = group[0].exchange.steps.keep(group)
        except Exception as error:  # noqa: BLE001  # nobody waits for this thread
            _tell_failed([each.exchange for each in group], error)
        finally:
            for client_id, count in Counter(each.exchange.client_id for each in group).items():
                self._give_back(client_id, count)
            self._leave(len(group) - len(kept))
        if self._without_room:
            self.submit(self._begin_waiting)
        for exchange, looked in kept:
            if looked is None:
                self._go_on(self._ending, exchange)
            else:
                looked.add_done_callback(partial(self._go_on, self._ending, exchange))

    def _begin_waiting(self) -> None:
        """Begin those who have waited for room, as far as there is some now."""
        for until, group in self._without_room.take():
            self._begin(group, until=until)

    def _end(self, group: Sequence[Exchange]) -> None:
        locked: Sequence[Exchange] = []
        try:
            locked = group[0].steps.end(group)
        except Exception as error:  # noqa: BLE001  # nobody waits for this thread
            _tell_failed(group, error)
        finally:
            self._leave(len(group) - len(locked))
        if locked:
            again = threading.Timer(LOCKED_WAIT.total_seconds(), partial(self._end_again, locked))
            again.daemon = True
            again.start()

    def _end_again(self, group: Sequence[Exchange]) -> None:
        for each in group:
            self._go_on(self._ending, each)

    def _go_on(self, threads: Gathering[Any], thing: Any, _: object = None) -> None:
        try:
            threads.add(thing)
        except RuntimeError:  # closed: nobody waited any longer
            self._leave()

    def _enter(self, client_id: int, count: int) -> int:
        """Take room for so many of a client; returns for how many there was some."""
        with self._changed:
            fits = min(self._room(client_id), count)
            self._asked[client_id] += fits
            self._under_way += fits
        return fits

    def _room(self, client_id: int) -> int:
        """For how many of a client there is room now."""
        room = min(MOST_ASKED - self._asked.total(), MOST_OF_A_CLIENT - self._asked[client_id])
        return 0 if self._stopping.is_set() else max(room, 0)

    def _give_back(self, client_id: int, count: int) -> None:
        with self._changed:
            self._asked[client_id] -= count

    def _leave(self, count: int = 1) -> None:
        with self._changed:
            self._under_way -= count
            self._changed.notify_all()

    def wait_until_quiet(self, patience: timedelta) -> bool:
        """Wait until none is under way; False: some are, and patience is over."""
        with self._changed:
            return self._changed.wait_for(lambda: self._under_way == 0, patience.total_seconds())

    def close(self, patience: timedelta) -> None:
        """Begin no more, and wait for those under way: for so long at least, and until each must be answered."""
        self._beginning.shutdown(wait=True, cancel_futures=True)
        if not self.wait_until_quiet(max(patience, self._answered_by - clock.boot())):
            log.warning("worker.left_exchanges_under_way", count=self._under_way)
        for threads in (self._keeping, self._ending):
            threads.close()


def _tell_failed(group: Sequence[Exchange], error: Exception) -> None:
    """Tell whose step failed in a way that nobody has foreseen."""
    for each in group:
        log.error("afterwards.failed", **each.whose, exc_info=error)
