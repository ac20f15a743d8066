"""The file for the log of `evergrant up` and all that it starts, where a person looks at the terminal."""

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

MOST_BYTES: Final = 64 * 1024**2
"""About a week of a thousand grants; so much again stays in the file before."""


class LogFile:
    """Many processes append to one file, whose last lines move to `….1` when it is long.

    They hold it open, so it is copied and then emptied: what one writes in between, a thousandth of a second, is lost.
    Home and journals lie on the same disk, and without room there nothing is sent.
    """

    def __init__(self, path: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self.path = path
        self._most = most_bytes

    def __enter__(self) -> Self:
        # Appending: every process writes behind the last line, also once the file was emptied.
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.lines: IO[str] = os.fdopen(fd, "a", encoding="utf-8", errors="replace")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lines.close()

    @property
    def former(self) -> Path:
        """Where the lines before lie."""
        return self.path.with_name(f"{self.path.name}.1")

    def shorten(self) -> None:
        """Move its lines where it has grown long."""
        if os.fstat(self.lines.fileno()).st_size <= self._most:
            return
        new = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        new.touch(mode=0o600)
        shutil.copyfile(self.path, new)
        new.replace(self.former)
        os.ftruncate(self.lines.fileno(), 0)
