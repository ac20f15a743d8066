"""The signals that a supervisor waits for, as something to ask and to wait on."""

import os
import select
import signal
from types import FrameType, TracebackType
from typing import Self

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """While it is entered, stop signals are counted instead of ending us, and a child's end ends a wait."""

    def __init__(self) -> None:
        self.stops = 0

    def __enter__(self) -> Self:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        # `nohup` ignores SIGHUP, and means it.
        wanted = [s for s in STOPPING if not (s == signal.SIGHUP and signal.getsignal(s) == signal.SIG_IGN)]
        self._before = {s: signal.signal(s, self._count) for s in wanted}
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, _nothing)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._read)
        os.close(self._write)

    def wait(self, seconds: float) -> None:
        """Wait until any signal arrives, at most `seconds`."""
        if select.select([self._read], [], [], seconds)[0]:
            os.read(self._read, 4096)

    def _count(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.stops += 1


def _nothing(number: int, frame: FrameType | None) -> None:
    """Exist: an ignored SIGCHLD would not wake us."""
    del number, frame
