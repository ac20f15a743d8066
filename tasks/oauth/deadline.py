"""The deadline of one request: it ends the task that it is entered in, but not before a last look at the socket."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Self

LAST_TURNS = 20  # of the loop, after the deadline: one reads up to 256 KiB, the largest answer has 64


class Deadline:
    """Entered by a task: raises TimeoutError in it once the time is over.

    A process that was stopped for a while (SIGSTOP, a machine that slept) finds its deadline over and the answer in the
    socket, and where refresh tokens die at once that answer is the only copy. So once `may_be_answered` the loop goes
    round a few times more: a turn reads what has arrived, and a few turns carry it up to us. Nothing is waited for.

    A timer in the task itself, for a second task to be waited for costs a fifth of a request's CPU.
    """

    def __init__(self, limit: timedelta, *, may_be_answered: Callable[[], bool]) -> None:
        self._seconds = limit.total_seconds()
        self._may_be_answered = may_be_answered
        self._turns = LAST_TURNS
        self._over = False
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # only a task can be cancelled
        self._task = task

    def __enter__(self) -> Self:
        self._cancelling = self._task.cancelling()
        self._handle: asyncio.Handle = self._loop.call_later(self._seconds, self._look)
        return self

    def _look(self) -> None:
        if self._turns and self._may_be_answered():
            self._turns -= 1
            self._handle = self._loop.call_soon(self._look)
        else:
            self._over = True
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._handle.cancel()
        # As asyncio.timeout does it: whoever else cancels the task means it.
        if self._over and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
