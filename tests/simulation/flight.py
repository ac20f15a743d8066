"""Coroutines of the loop thread, advanced by the world's events instead of an event loop."""

from collections.abc import Callable, Coroutine, Generator
from typing import Any
from weakref import finalize

from tests.simulation.world import Process

Resume = Callable[[Any], None]
Arrange = Callable[[Resume], None]


class Until:
    """Awaitable: `arrange` is given what resumes the coroutine, and calls it once, later."""

    def __init__(self, arrange: Arrange) -> None:
        self._arrange = arrange

    def __await__(self) -> Generator[Arrange, Any, Any]:
        return (yield self._arrange)


def pause(process: Process, seconds: float) -> Until:
    """Await that some time has passed for a process."""
    return Until(lambda resume: process.world.after(seconds, lambda: resume(None), owner=process))


class Landing:
    """What `submit` returns: a future that a strand may wait for."""

    def __init__(self, process: Process, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._process = process
        self._coroutine = coroutine
        self._done = False
        self._value: Any = None
        self._error: Exception | None = None
        self._waiting: list[Callable[[], None]] = []
        # Where its process is killed before it came to run, or in its middle. Not `__del__`: of a circle of both the
        # coroutine may be collected first, and complain that nobody has awaited it.
        finalize(self, coroutine.close).atexit = False
        # All coroutines run in one thread, as on the loop: tenacity keeps its counts by thread.
        if process.world.strand is None:
            self._advance(None)
        else:
            process.world.after(0, lambda: self._advance(None), owner=process)

    def result(self) -> Any:
        """The value of the coroutine; only a strand may have to wait for it."""
        if not self._done:
            strand = self._process.world.strand
            assert strand is not None, "only a strand may wait"
            self._waiting.append(strand.resume)
            strand.wait()
        if self._error is not None:
            raise self._error
        return self._value

    def _advance(self, value: Any) -> None:
        try:
            arrange = self._coroutine.send(value)
        except StopIteration as end:
            self._value = end.value
        except Exception as error:  # noqa: BLE001  # handed to whoever asks for the result
            self._error = error
        else:
            arrange(self._advance)
            return
        self._done = True
        for resume in self._waiting:
            self._process.world.after(0, resume, owner=self._process)
