"""Traces: what a process of the crash loop says of itself, each line on its way before the next instruction.

A line is written by one `write` to a file of the process's own, so it survives a kill -9; times are of the wall
clock, which is the database's, too, on one machine.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

Line = dict[str, Any]


class Trace:
    """The trace of this process."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def say(self, what: str, **members: Any) -> None:
        """Write one line."""
        line = {"at": time.time(), "what": what, **members}
        os.write(self._fd, json.dumps(line).encode() + b"\n")


@dataclass
class Reader:
    """Reads what a trace has gained since the last time."""

    path: Path
    _file: BinaryIO | None = None
    _half: bytes = b""

    def new(self) -> Iterator[Line]:
        """Every whole line that was not read yet."""
        if self._file is None:
            try:
                self._file = self.path.open("rb", buffering=0)
            except FileNotFoundError:
                return
        data = self._file.read()
        if data:
            *lines, self._half = (self._half + data).split(b"\n")
            yield from (json.loads(line) for line in lines)

    def forget(self) -> None:
        """Remove a trace that was read to its end."""
        if self._file is not None:
            self._file.close()
            self.path.unlink()


def mark_of(access_token: str) -> str:
    """How a trace names a token set: enough to find it in the provider's ledger, no token."""
    return hashlib.sha256(access_token.encode()).hexdigest()[:24]
