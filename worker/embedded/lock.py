"""The lock on a home: at most one process runs its engines, and everybody can see which one."""

import fcntl
import os
import pwd
import time
from collections.abc import Callable
from typing import Self

from worker.embedded.errors import HomeBusy, HomeForeign
from worker.embedded.home import Home

_PATIENCE_SECONDS = 1.0
_STEP_SECONDS = 0.01


class HomeLock:
    """A `flock` that ends with the process however it ends, with the process id written inside.

    Python opens files close-on-exec, so no child inherits it.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._fd: int | None = None

    @property
    def held(self) -> bool:
        """Whether we have it."""
        return self._fd is not None

    @property
    def pid(self) -> int:
        """The process that holds it: this one."""
        return os.getpid()

    def acquire(self) -> Self:
        """Take the lock.

        Raises:
            HomeBusy: another process has it; names that process.

        """
        fd = os.open(self._home.lock, os.O_RDWR | os.O_CREAT, 0o600)
        # Whoever only looks holds it for microseconds (see `holder`), so one refusal proves nothing.
        if not _retry(lambda: _try(fd, fcntl.LOCK_EX)):
            pid = _written_pid(fd)
            os.close(fd)
            raise HomeBusy(home=self._home.path, pid=pid)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._fd = fd
        return self

    def release(self) -> None:
        """Give it back; harmless when it is not held."""
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None


def holder(home: Home) -> int | None:
    """The process that holds the lock of `home`, or None.

    Raises:
        HomeForeign: it is somebody else's.

    """
    try:
        fd = os.open(home.lock, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except PermissionError:
        raise HomeForeign(home=home.path, owner=_owner(home)) from None
    try:
        return None if _try(fd, fcntl.LOCK_SH) else _written_pid(fd)
    finally:
        os.close(fd)


def _owner(home: Home) -> str:
    """Whose home it is: a name, or the number of a user without one."""
    try:
        number = home.path.stat().st_uid
    except OSError:
        return "another user"
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _written_pid(fd: int) -> int:
    """Read the holder's number; between taking the lock and writing it there is a moment without one (0)."""
    _retry(lambda: os.pread(fd, 32, 0).strip().isdigit())
    text = os.pread(fd, 32, 0).strip()
    return int(text) if text.isdigit() else 0


def _try(fd: int, how: int) -> bool:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _retry(step: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not step():
        if time.monotonic() > deadline:
            return False
        time.sleep(_STEP_SECONDS)
    return True
