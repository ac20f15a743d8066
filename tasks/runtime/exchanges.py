"""Exchanges under way in a process; for each of them a customer waits in front of a page.

The database and the disk are asked on threads, the provider is not: one that takes forty seconds holds up nobody, and
no client's customers take all the room.

begin    what a message asks for, until the code is sent
keep     the answer goes to the journal, on a thread of its own: whatever the others wait for
end      it is read and stored
"""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar

from tasks.runtime.threads import told

T = TypeVar("T")
A = TypeVar("A")
K = TypeVar("K")

MOST_ASKED: Final = 256  # at a time: the journal has room for their answers, beside those to refreshes
MOST_OF_A_CLIENT: Final = MOST_ASKED // 2


class Exchanges:
    """Which exchanges may begin, and the threads of their steps."""

    def __init__(self, *, threads: int) -> None:
        """`threads`: that begin, and again that end."""
        self._beginning = ThreadPoolExecutor(threads, thread_name_prefix="exchange-begin")
        self._keeping = ThreadPoolExecutor(1, thread_name_prefix="exchange-keep")
        self._ending = ThreadPoolExecutor(threads, thread_name_prefix="exchange-end")
        self._changed = threading.Condition()
        self._asked: Counter[int] = Counter()  # by client, until the answer is kept
        self._under_way = 0

    def submit(self, work: Callable[[], object]) -> None:
        """Begin one in a thread; what was not begun when the process ends is offered to another one."""
        self._beginning.submit(told(work))

    def carry_out(
        self,
        client_id: int,
        *,
        begin: Callable[[], tuple[T, Future[A]] | None],
        keep: Callable[[T, A], K],
        end: Callable[[T, K], object],
    ) -> bool:
        """Begin one here and now; its other steps follow in their threads, once it is answered.

        Returns:
            False: there is no room for it, and nothing was begun.

        """
        if not self._enter(client_id):
            return False
        begun = None
        try:
            begun = begin()
        finally:
            if begun is None:
                self._give_back(client_id)
                self._leave()
        if begun is not None:
            self._follow(client_id, *begun, keep=keep, end=end)
        return True

    def _follow(
        self,
        client_id: int,
        taken: T,
        answered: Future[A],
        *,
        keep: Callable[[T, A], K],
        end: Callable[[T, K], object],
    ) -> None:
        def kept() -> None:
            try:
                self._ending.submit(told(partial(ended, keep(taken, answered.result()))))
            except BaseException:
                self._leave()
                raise
            finally:
                self._give_back(client_id)

        def ended(found: K) -> None:
            try:
                end(taken, found)
            finally:
                self._leave()

        answered.add_done_callback(lambda _: self._keeping.submit(told(kept)))

    def _enter(self, client_id: int) -> bool:
        with self._changed:
            fits = self._asked.total() < MOST_ASKED and self._asked[client_id] < MOST_OF_A_CLIENT
            self._asked[client_id] += fits
            self._under_way += fits
        return fits

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
        """Begin no more, and see those that are under way to their end: each has its deadline, and is to be kept."""
        self._beginning.shutdown(wait=True, cancel_futures=True)
        self.wait_until_quiet(patience)
        self._keeping.shutdown(wait=True)
        self._ending.shutdown(wait=True)
