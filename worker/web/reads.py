"""Reads: one statement for all who ask in one turn of the loop; whoever asks while it runs is answered by the next.

So nobody is answered by a statement that had begun before they asked. There are two lines, so that one statement which
waits for somebody's lock does not keep everybody else waiting.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

import psycopg
from sqlalchemy.exc import DBAPIError

from models.database import is_locked
from tasks.runtime import lock_holders
from worker.web.database import MOST_AT_ONCE, PATIENCE_SECONDS, DatabaseSilent
from worker.web.line import Line, Statement, connected

LINES: Final = 2
STALE: Final = ("26000", "0A000")  # a statement that the session has no more, or that shows other columns now

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)


class Question(Statement, Protocol[K, V_co]):
    """A statement for many keys at once: what it is given, and what its rows mean to each."""

    def values(self, asked: Sequence[K]) -> list[Any]:
        """The parameters."""

    def found(self, asked: Sequence[K], rows: Iterable[Sequence[Any]]) -> Mapping[K, V_co]:
        """What was found for each."""


@dataclass(eq=False, slots=True)
class _Batch(Generic[K, V]):
    """Who asked together. Each has a future of their own: who leaves takes nobody else's answer along."""

    asked: dict[K, list[asyncio.Future[V]]] = field(default_factory=dict)
    ends: asyncio.TimerHandle | None = None
    line: Line | None = None

    def tell(self, error: Exception) -> None:
        """Fail whoever waits still."""
        for future in self._waiting():
            future.set_exception(error)

    def answer(self, found: Mapping[K, V]) -> None:
        """Answer whoever waits still."""
        for key, futures in self.asked.items():
            for future in futures:
                if not future.done():
                    future.set_result(found[key])

    def forget(self) -> None:
        """Nobody waits for it any more."""
        if self.ends is not None:
            self.ends.cancel()

    @property
    def is_awaited(self) -> bool:
        """Whether anybody waits still."""
        return bool(self._waiting())

    def _waiting(self) -> list[asyncio.Future[V]]:
        return [future for futures in self.asked.values() for future in futures if not future.done()]


class Reads(Generic[K, V]):
    """Made and used on one loop; nothing is connected to before the first question."""

    def __init__(self, question: Question[K, V]) -> None:
        self._question = question
        self._queue: deque[_Batch[K, V]] = deque()
        self._free: list[Line] = []
        self._busy: set[Line] = set()
        self._lines = 0  # open, or being opened
        self._is_called = False
        self._is_closed = False
        self._threads = ThreadPoolExecutor(LINES, thread_name_prefix="lines")
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, key: K) -> V:
        """What is found for this key, by a statement that begins after this was asked.

        Raises:
            DatabaseSilent: it took too long.
            DBAPIError: it is away, somebody holds what was asked for, or it refuses.

        """
        future: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self._last().asked.setdefault(key, []).append(future)
        self._call()
        return await future

    async def close(self) -> None:
        """Ask nothing more, and cancel what is under way."""
        self._is_closed = True
        await asyncio.gather(*(line.cut() for line in self._busy))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for line in self._free:
            line.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _last(self) -> _Batch[K, V]:
        """The batch that has not begun and has room."""
        if self._queue and len(self._queue[-1].asked) < MOST_AT_ONCE:
            return self._queue[-1]
        batch: _Batch[K, V] = _Batch()
        batch.ends = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._give_up, batch)
        self._queue.append(batch)
        return batch

    def _call(self) -> None:
        """Begin in the next turn of the loop, so that all who ask in this one share a statement."""
        if not self._is_called:
            self._is_called = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        self._is_called = False
        while self._queue and (self._free or self._lines < LINES) and not self._is_closed:
            batch = self._queue.popleft()
            if not batch.is_awaited:
                batch.forget()
                continue
            line = self._free.pop() if self._free else None
            self._lines += line is None
            self._keep(self._carry_out(batch, line))

    def _keep(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _give_up(self, batch: _Batch[K, V]) -> None:
        """Tell them that it took too long; a line that is silent is cut, and what it began is cancelled."""
        batch.tell(DatabaseSilent())
        if batch.line is not None:
            self._keep(batch.line.cut())
        elif batch in self._queue:
            self._queue.remove(batch)  # nobody else may join it: its time is over

    async def _carry_out(self, batch: _Batch[K, V], line: Line | None) -> None:
        """Let a line answer them, a new one where there is none."""
        was_open = line is not None
        try:
            line = line or await self._opened()
            batch.line = line
            self._busy.add(line)
            if batch.is_awaited:
                await self._answer(batch, line, may_be_dead=was_open)
        except Exception as error:  # noqa: BLE001  # it is raised where it was asked
            batch.tell(error)
        finally:
            batch.line = None
            batch.forget()
            self._give_back(line)

    def _give_back(self, line: Line | None) -> None:
        if line is not None:
            self._busy.discard(line)
        if line is not None and line.is_open and not self._is_closed:
            self._free.append(line)
        else:
            self._lines -= 1
            if line is not None:
                line.close()
        if self._queue:
            self._call()

    async def _opened(self) -> Line:
        opening = self._threads.submit(connected, self._question)
        try:
            connection, prepared = await asyncio.wrap_future(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close)
            raise
        return Line(connection, self._question, prepared=prepared)

    async def _answer(self, batch: _Batch[K, V], line: Line, *, may_be_dead: bool) -> None:
        keys = list(batch.asked)
        try:
            rows = await line.ask(self._question.values(keys))
        except DBAPIError as error:
            if may_be_dead and (not line.is_open or _is_stale(error)):
                line.close()  # the server has ended it, or cannot use what was prepared: another one will do
                self._again(batch)
            elif len(keys) > 1 and isinstance(error.orig, psycopg.DataError):
                await self._one_by_one(batch, line)
            else:
                self._tell_of_locks(error)
                raise
        else:
            batch.answer(self._question.found(keys, rows))

    def _again(self, batch: _Batch[K, V]) -> None:
        for key, futures in batch.asked.items():
            self._last().asked.setdefault(key, []).extend(futures)
        batch.asked.clear()

    async def _one_by_one(self, batch: _Batch[K, V], line: Line) -> None:
        """One of them cannot be read: the others do not fail with it. Meanwhile there is another line for all else."""
        for key, futures in batch.asked.items():
            one = _Batch({key: futures})
            if not one.is_awaited:
                continue
            try:
                await self._answer(one, line, may_be_dead=False)
            except Exception as error:  # noqa: BLE001  # it is raised where it was asked
                one.tell(error)

    def _tell_of_locks(self, error: DBAPIError) -> None:
        if is_locked(error):
            self._threads.submit(lock_holders.tell)


def _close(opening: "Future[tuple[psycopg.Connection[Any], bool]]") -> None:
    """Close what nobody waits for any more."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[0].close()


def _is_stale(error: DBAPIError) -> bool:
    """Whether what was prepared is of no use any more."""
    return getattr(error.orig, "sqlstate", None) in STALE
