"""A real terminal, with a program on it: what is seen there, and what remains when the program has ended."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyte

CTRL_C = b"\x03"
DRAWN_SECONDS = 0.1  # so long nothing more comes of a page


class Terminal:
    """One pseudo-terminal; `lines` is what a person sees, `former` what stood there each time the page changed."""

    def __init__(self, pid: int, fd: int, columns: int, rows: int) -> None:
        self.pid, self._fd = pid, fd
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""

    @property
    def lines(self) -> list[str]:
        """What is seen, without the blanks at the end of each line."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """The same as one text."""
        return "\n".join(self.lines)

    @property
    def cells(self) -> list[list[pyte.screens.Char]]:
        """Every cell of it, with its colour."""
        rows = (self._screen.buffer[number] for number in range(self._screen.lines))
        return [[row[column] for column in range(self._screen.columns)] for row in rows]

    @property
    def cursor_is_shown(self) -> bool:
        """Whether whoever types next sees where."""
        return not self._screen.cursor.hidden

    def resize(self, columns: int, rows: int) -> None:
        """Make the window another size; the program is told as it would be."""
        self._screen.resize(rows, columns)
        _set_size(self._fd, columns, rows)

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self._fd, keys)

    def wait_for(self, *texts: str, seconds: float = 60) -> None:
        """Read until all of these are seen at once, on a page that is drawn to its end."""
        end = time.monotonic() + seconds
        while not all(text in self.text for text in texts):
            assert time.monotonic() < end, f"{texts} not seen:\n{self.text}"
            assert self._read(0.2), f"{texts} not seen, and it has ended:\n{self.text}"
        while select.select([self._fd], [], [], DRAWN_SECONDS)[0] and self._read(0):
            assert time.monotonic() < end, f"it never rests:\n{self.text}"

    def watch(self, seconds: float) -> Iterator[list[str]]:
        """What is seen after each piece that the program writes, for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._read(0.2):
            yield self.lines

    def end(self, seconds: float = 90) -> int:
        """Read until it ends; returns its exit code."""
        end = time.monotonic() + seconds
        while self._read(0.2):
            assert time.monotonic() < end, f"it did not end:\n{self.text}"
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self, seconds: float) -> bool:
        """Take in what comes; False once nothing can come any more."""
        if not select.select([self._fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._fd, 65_536)
        except OSError:  # Linux says so where everybody at the other end is gone
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)


@contextmanager
def on_terminal(
    argv: Sequence[str], *, env: Mapping[str, str], columns: int = 80, rows: int = 24, folder: Path | None = None
) -> Iterator[Terminal]:
    """Run a program on a terminal; whatever happens, it does not outlive this."""
    pid, fd = pty.fork()
    if pid == 0:
        try:
            _set_size(0, columns, rows)
            if folder is not None:
                os.chdir(folder)
            os.execvpe(argv[0], list(argv), {**env, "TERM": "xterm-256color"})  # noqa: S606  # no shell is wanted
        finally:
            os._exit(127)
    terminal = Terminal(pid, fd, columns, rows)
    try:
        yield terminal
    finally:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(fd)


def _set_size(fd: int, columns: int, rows: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
