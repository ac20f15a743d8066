"""Loop thread: one asyncio loop in one thread of this process, started when it is first needed."""

import asyncio
import os
import threading
from collections import deque
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Running:
    pid: int
    loop: asyncio.AbstractEventLoop
    thread: threading.Thread
    launching: deque[Coroutine[Any, Any, None]] = field(default_factory=deque)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def launch_all(self) -> None:
        """Begin what waits; called on the loop."""
        while self.launching:
            task = self.loop.create_task(self.launching.popleft())
            self.tasks.add(task)  # the loop itself keeps none alive
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled():
            task.exception()  # it has been logged; asked for here, or asyncio would tell of it once more


class LoopThread:
    """Runs coroutines for synchronous callers; a forked child gets a loop of its own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._running: _Running | None = None
        # A parent's loop seen in a forked child: kept, so that its end does not close the parent's sockets.
        self._inherited: list[_Running] = []

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop of this process, if it runs."""
        running = self._running
        return running.loop if running is not None and running.pid == os.getpid() else None

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run `coroutine` on the loop and return at once."""
        with self._lock:
            loop = self.loop or self._start()
            return asyncio.run_coroutine_threadsafe(coroutine, loop)

    def launch(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run `coroutine`, which logs its own failure, on the loop; nobody waits for its end.

        The loop is woken once for all that are launched before it wakes: a future and a wake-up each, as with `submit`,
        cost a batch more than its statements.
        """
        with self._lock:
            loop = self.loop or self._start()
            running = self._running
            assert running is not None  # noqa: S101  # it was just started
            running.launching.append(coroutine)
            if len(running.launching) == 1:
                loop.call_soon_threadsafe(running.launch_all)

    def _start(self) -> asyncio.AbstractEventLoop:
        if self._running is not None:
            self._inherited.append(self._running)
        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name=self._name, daemon=True)
        self._running = _Running(os.getpid(), loop, thread)
        thread.start()
        return loop

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """Cancel what still runs, then run `last`, then end the loop and its thread; harmless where none runs."""
        with self._lock:
            loop, running, self._running = self.loop, self._running, None
        if loop is None or running is None:
            last.close()
            return
        asyncio.run_coroutine_threadsafe(_wind_up(last), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        running.thread.join()
        with suppress(OSError):  # a connection is still being let go: uvloop closes no such loop, and it runs no longer
            loop.close()


async def _wind_up(last: Coroutine[Any, Any, None]) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await last
    await asyncio.sleep(0)  # a connection that was closed is let go in the loop's next turn
