"""Audit file: lines are appended whole, and whoever rotates the file need tell nobody."""

import errno
import os
from contextlib import suppress
from pathlib import Path

from settings import open_to_others

MODE = 0o600
# A pipe without a reader, or a full one, is an error at once: nobody waits for it.
FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY


class AuditFile:
    """A file that several processes append to, each line with one write; the disk is not waited for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._is: tuple[int, int] | None = None

    def write(self, line: bytes) -> None:
        """Append a line.

        Raises:
            OSError: it cannot be written; nothing of it is left in the file, as far as that can be had.

        """
        descriptor = self.opened()
        written = os.write(descriptor, line)
        if written < len(line):
            _take_back(descriptor, written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def opened(self) -> int:
        """The file that has the name now: another one than before where it was rotated.

        Raises:
            OSError: it cannot be opened or made, or others may write it.

        """
        try:
            found = self._path.stat()
        except FileNotFoundError:
            found = None
        if self._descriptor is None or found is None or (found.st_dev, found.st_ino) != self._is:
            self.close()
            self._descriptor = os.open(self._path, FLAGS, MODE)
            found = os.fstat(self._descriptor)
            self._is = found.st_dev, found.st_ino
        _refuse_open(self._path)
        return self._descriptor

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _refuse_open(path: Path) -> None:
    """Refuse a file whose lines others could change.

    Raises:
        PermissionError: it is another user's, or all may write it.

    """
    if (fault := open_to_others(path, holds_secret=False)) is not None:
        raise PermissionError(errno.EPERM, fault)


def _take_back(descriptor: int, written: int) -> None:
    """Cut off the beginning of a line that the disk had no room for, unless somebody has written behind it."""
    with suppress(OSError):
        end = os.lseek(descriptor, 0, os.SEEK_CUR)
        if os.fstat(descriptor).st_size == end:
            os.ftruncate(descriptor, end - written)
