"""The database from the event loop of web: short transactions on a few threads, many reads in one statement."""

import asyncio
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from models.database import Lane, connections, is_locked, transaction, using
from tasks.runtime import lock_holders

# Longer than a healthy database ever takes; a request is told that it is away before its own client gives up.
PATIENCE_SECONDS = 5.0
MOST_AT_ONCE = 500
LOOK_SECONDS = 0.01

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class DatabaseSilent(Exception):
    """The database did not answer in time."""


class Database:
    """Runs functions that take a connection, each in a transaction of its own, on as many threads as its lane has.

    What may meet somebody's lock runs in the lane `asked`, and holds up no reader.
    """

    def __init__(self, lane: Lane, *, threads: int | None = None) -> None:
        """`threads`: fewer than connections, where it shares them with another."""
        self._lane = lane
        self._threads = ThreadPoolExecutor(threads or connections(lane), thread_name_prefix=lane)
        self._under_way: set[Future[Any]] = set()

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Carry out `work` and commit.

        Raises:
            DatabaseSilent: it took too long; what was begun goes on in its thread to its own end.

        """

        def carried_out() -> T:
            try:
                with using(self._lane), transaction() as connection:
                    return work(connection)
            except DBAPIError as error:
                if is_locked(error):
                    lock_holders.tell()
                raise

        job = self._threads.submit(carried_out)
        self._under_way.add(job)
        job.add_done_callback(self._under_way.discard)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await asyncio.wrap_future(job)
        except TimeoutError:
            raise DatabaseSilent from None

    async def close(self) -> None:
        """Begin nothing more, and wait a while for what is under way."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        last = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while self._under_way and asyncio.get_running_loop().time() < last:  # noqa: ASYNC110  # threads set no event
            await asyncio.sleep(LOOK_SECONDS)


class Batch(Generic[K, V]):
    """Answers many askers with one statement: whoever asks while one runs is answered by the next.

    So nobody is answered by a statement that had begun before they asked, and there is one connection at work
    however many ask.
    """

    def __init__(self, database: Database, work: Callable[[Connection, Sequence[K]], Mapping[K, V]]) -> None:
        self._database = database
        self._work = work
        self._asked: dict[K, asyncio.Future[V]] = {}
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, key: K) -> V:
        """What `work` finds for this key.

        Raises:
            DatabaseSilent: it took too long.

        """
        if key not in self._asked:
            self._asked[key] = asyncio.get_running_loop().create_future()
            # Whoever asked may have left: then nobody takes notice of a failure.
            self._asked[key].add_done_callback(lambda future: future.cancelled() or future.exception())
        asked = self._asked[key]
        if self._running is None:
            self._running = asyncio.create_task(self._answer_all())
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await asyncio.shield(asked)
        except TimeoutError:
            raise DatabaseSilent from None

    async def _answer_all(self) -> None:
        while self._asked:
            taken = {key: self._asked.pop(key) for key in list(self._asked)[:MOST_AT_ONCE]}
            await self._answer(taken)
        self._running = None

    async def _answer(self, taken: Mapping[K, asyncio.Future[V]]) -> None:
        keys = list(taken)
        try:
            found = await self._database.run(lambda connection: self._work(connection, keys))
            for key, future in taken.items():
                future.set_result(found[key])
        except DBAPIError as error:
            if not is_locked(error) or len(taken) == 1:
                _tell(taken, error)
                return
            for key, future in taken.items():  # one of them is: the others do not fail with it
                await self._answer({key: future})
        except Exception as error:  # noqa: BLE001  # it is raised where it was asked
            _tell(taken, error)


def _tell(taken: Mapping[Any, asyncio.Future[Any]], error: Exception) -> None:
    for future in taken.values():
        if not future.done():
            future.set_exception(error)
