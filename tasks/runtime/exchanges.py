"""Exchanges under way in a process; for each of them a customer waits in front of a page.

The database and the disk are asked on threads, the provider is not: one that takes forty seconds holds up nobody, and
no client's customers take all the room.

begin    until the code is sent
keep     the answer goes to the journal, on threads that wait for nothing else; perhaps something is asked about it
end      it is read and stored
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from enum import Enum
from functools import partial
from typing import Any, Final, Protocol

import structlog
from sqlalchemy.exc import DBAPIError

from models.database import is_locked
from tasks.runtime import clock
from tasks.runtime.threads import told

log = structlog.get_logger()

MOST_ASKED: Final = 256  # at a time: the journal has room for their answers, beside those to refreshes
MOST_OF_A_CLIENT: Final = MOST_ASKED // 2
LOCKED_WAIT: Final = timedelta(seconds=1)  # of an end that meets a stranger's lock; others go first meanwhile
TRIES_END: Final = timedelta(seconds=20)  # after the deadline: see tasks/runtime/retry.py


class Exchange(Protocol):
    """One exchange. Each step is called once, but `end` again after it has met a lock."""

    client_id: int
    whose: Mapping[str, str]  # what a line of the log says of it

    def begin(self) -> tuple[Future[Any], timedelta] | None:
        """Send the code; returns where its answer will be and the deadline, or None where nothing was sent."""

    def keep(self, answered: Future[Any]) -> Future[Any] | None:
        """Keep the answer; returns what is to be waited for before the end, if anything is."""

    def end(self) -> None:
        """Read the answer, and store what it tells of."""


class NotBegun(Enum):
    """Why an exchange was not begun; it is offered to another worker, or again."""

    NO_ROOM = "no_room"  # a provider that hangs has it
    STOPPING = "stopping"  # the process is


class Exchanges:
    """Which exchanges may begin, and the threads of their steps."""

    def __init__(self, stopping: threading.Event, *, threads: int) -> None:
        """`threads`: of each step."""
        self._stopping = stopping
        self._beginning = ThreadPoolExecutor(threads, thread_name_prefix="exchange-begin")
        self._keeping = ThreadPoolExecutor(threads, thread_name_prefix="exchange-keep")
        self._ending = ThreadPoolExecutor(threads, thread_name_prefix="exchange-end")
        self._changed = threading.Condition()
        self._asked: Counter[int] = Counter()  # by client, until the answer is kept
        self._under_way = 0
        self._answered_by = clock.boot()  # all that was asked so far

    def submit(self, work: Callable[[], object], **whose: str) -> None:
        """Begin something in a thread; what was not begun when the process ends is offered to another one."""
        if not self._stopping.is_set():
            self._beginning.submit(told(work, **whose))

    def carry_out(self, exchange: Exchange) -> NotBegun | None:
        """Begin one here and now; its other steps follow in their threads, once it is answered.

        Returns:
            Why nothing was begun; None: it was.

        """
        why = self._enter(exchange.client_id)
        if why is not None:
            return why
        begun = None
        try:
            begun = exchange.begin()
        finally:
            if begun is None:
                self._give_back(exchange.client_id)
                self._leave()
        if begun is not None:
            answered, deadline = begun
            with self._changed:
                self._answered_by = max(self._answered_by, clock.boot() + deadline + TRIES_END)
            keep = partial(self._keep, exchange, answered)
            answered.add_done_callback(lambda _: self._go_on(self._keeping, exchange, keep))
        return None

    def _keep(self, exchange: Exchange, answered: Future[Any]) -> None:
        try:
            looked = exchange.keep(answered)
        finally:
            self._give_back(exchange.client_id)
        end = partial(self._go_on, self._ending, exchange, partial(self._end, exchange))
        if looked is None:
            end()
        else:
            looked.add_done_callback(lambda _: end())

    def _end(self, exchange: Exchange) -> None:
        try:
            exchange.end()
        except DBAPIError as error:
            if not is_locked(error):
                raise
            step = (self._ending, exchange, partial(self._end, exchange))
            again = threading.Timer(LOCKED_WAIT.total_seconds(), self._go_on, step)
            again.daemon = True
            again.start()
        else:
            self._leave()

    def _go_on(self, threads: ThreadPoolExecutor, exchange: Exchange, step: Callable[[], None]) -> None:
        """Take the next step in a thread; one that fails is told, and the exchange is over."""

        def taken() -> None:
            try:
                step()
            except BaseException:
                self._leave()
                raise

        try:
            threads.submit(told(taken, **exchange.whose))
        except RuntimeError:  # shut down: nobody waited any longer
            self._leave()

    def _enter(self, client_id: int) -> NotBegun | None:
        with self._changed:
            if self._stopping.is_set():
                return NotBegun.STOPPING
            if self._asked.total() >= MOST_ASKED or self._asked[client_id] >= MOST_OF_A_CLIENT:
                return NotBegun.NO_ROOM
            self._asked[client_id] += 1
            self._under_way += 1
        return None

    def _give_back(self, client_id: int) -> None:
        with self._changed:
            self._asked[client_id] -= 1

    def _leave(self) -> None:
        with self._changed:
            self._under_way -= 1
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
            threads.shutdown(wait=True)
