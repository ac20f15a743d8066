"""Unfinished: ends of attempts whose rows a stranger has locked. They alone wait, and hold no thread but one.

An attempt that nobody ends leaves its journal in the doubt about its grant for as long as the process lives, so its end
is tried again until it is written. Where the process ends first, the lease lapses as after a kill.
"""

import threading
from collections import deque
from collections.abc import Callable

import structlog

from models.database import Lane, is_locked, using
from tasks.runtime import lock_holders, retry

log = structlog.get_logger()

AGAIN = 0.5  # seconds between two tries

End = Callable[[], bool]
"""Writes an end; False: a part of it is locked still."""


class Unfinished:
    """What a process has to write as soon as it can."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._ends: deque[End] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def __len__(self) -> int:
        return len(self._ends)

    def write(self, end: End) -> None:
        """Write it now, or where somebody else holds a lock later; waits while the database is away."""
        if not self._tried(end):
            self._ends.append(end)
            self._begin()

    def close(self) -> None:
        """Try once more, and no longer."""
        if self._thread is not None:
            self._thread.join(10)
        for _ in range(len(self._ends)):
            self._tried(self._ends.popleft())

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="unfinished", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        with using(Lane.ASKED):
            while not self._stopping.wait(AGAIN):
                for _ in range(len(self._ends)):
                    end = self._ends.popleft()
                    if not self._tried(end):
                        self._ends.append(end)

    def _tried(self, end: End) -> bool:
        """Whether it is over: written, or not to be written."""
        try:
            return retry.while_database_away(end, give_up=self._stopping, unless=is_locked)
        except Exception as error:
            if not is_locked(error):
                log.exception("unfinished.failed")
                return True
            log.warning("unfinished.locked")
            lock_holders.tell()
            return False
