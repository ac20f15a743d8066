"""Log batch: the lines that a group logs are written together.

Each write lets the other threads of a process go on, and then waits for the interpreter's lock again: a settling thread
that writes a line for each of two hundred answers waits two hundred times.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

Write = Callable[[str], None]

PIPE_BYTES: Final = 4096  # whatever is shorter arrives in one piece, also where several processes write into one pipe


class _Gathered(threading.local):
    """What this thread has gathered; None: it writes at once."""

    lines: list[str] | None = None
    write: Write | None = None


_here = _Gathered()


def write(line: str, to: Write) -> None:
    """Write a line (ASCII, with its end), or keep it for the end of `together`."""
    if _here.lines is None:
        to(line)
    else:
        _here.lines.append(line)
        _here.write = to


@contextmanager
def together() -> Iterator[None]:
    """Gather the lines that this thread writes inside; at the end they are written, whatever happened."""
    _here.lines = []
    try:
        yield
    finally:
        _let_go()


def until(later: Callable[[Callable[[], None]], object]) -> None:
    """Gather the lines of this thread until `later` calls back, as a loop's `call_soon` does in its next turn."""
    if _here.lines is None:
        _here.lines = []
        later(_let_go)


def _let_go() -> None:
    gathered, _here.lines, to = _here.lines, None, _here.write
    if to is not None and gathered:
        for portion in portions(gathered):
            to(portion)


def portions(lines: list[str], *, most: int = PIPE_BYTES) -> Iterator[str]:
    """Whole lines, joined up to `most` characters; one that is longer stands alone."""
    begun, length = 0, 0
    for place, line in enumerate(lines):
        if length + len(line) > most and place > begun:
            yield "".join(lines[begun:place])
            begun, length = place, 0
        length += len(line)
    yield "".join(lines[begun:])
