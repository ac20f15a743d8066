"""The file for the log of `evergrant up` and all that it starts, where a person looks at the terminal."""

import os
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import structlog

MOST_BYTES: Final = 64 * 1024**2
"""About a week of a thousand grants; so much again stays in the file before."""
AGAIN_SECONDS: Final = 60.0
_PIECE_BYTES: Final = 1024**2

log = structlog.get_logger()


class LogFile:
    """Many processes append to one file, whose last lines move to `….1` when it is long.

    They hold it open, so it is copied and then emptied: what one writes in between, a thousandth of a second, is lost.
    Home and journals lie on the same disk, and without room there nothing is sent.
    """

    def __init__(self, path: Path, *, most_bytes: int = MOST_BYTES, again_seconds: float = AGAIN_SECONDS) -> None:
        """`again_seconds`: how soon it is tried again to move lines that could not be moved."""
        self.path = path
        self._most = most_bytes
        self._again_seconds = again_seconds
        self._again_at = 0.0
        self._told: set[str] = set()

    def __enter__(self) -> Self:
        # Appending: every process writes behind the last line, also once the file was emptied. Read as well: whoever
        # has removed or renamed the file has not ended what is written into it.
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
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
        """Move its lines where it has grown long; what hinders that is said once, for nothing ends for a log's sake."""
        found = os.fstat(self.lines.fileno())
        if found.st_nlink == 0:
            self._tell_once(
                "log.removed",
                reason=f"{self.path} was removed, and what is logged is seen in {self.former} only, once it is long",
                remedy="start `evergrant up` again to have it back",
            )
        if found.st_size <= self._most or time.monotonic() < self._again_at:
            return
        try:
            self._move()
        except OSError as error:
            self._again_at = time.monotonic() + self._again_seconds  # each try writes as much as there is room for
            self._tell_once(
                "log.not_moved",
                reason=f"The lines of {self.path} could not be moved to {self.former} ({error.strerror or error})",
                remedy="make room on that disk: the log grows on",
            )
        else:
            self._told.discard("log.not_moved")

    def _move(self) -> None:
        new = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        try:
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as to:
                self._copy(to)
            new.replace(self.former)
        finally:
            new.unlink(missing_ok=True)
        os.ftruncate(self.lines.fileno(), 0)

    def _copy(self, to: IO[bytes]) -> None:
        at = 0
        while piece := os.pread(self.lines.fileno(), _PIECE_BYTES, at):
            to.write(piece)
            at += len(piece)

    def _tell_once(self, event: str, **said: Any) -> None:
        if event not in self._told:
            self._told.add(event)
            log.warning(event, **said)
