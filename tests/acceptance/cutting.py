"""A proxy on loopback or a unix socket that cuts connections: after so many bytes, or where a test finds the place."""

import itertools
import select
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

CHUNK = 1 << 16
LOOK = 0.2  # seconds after which each thread sees that all is over
RESET = (1).to_bytes(4, sys.byteorder) + (0).to_bytes(4, sys.byteorder)


@dataclass
class Line:
    """One connection that passes by: how many bytes went each way."""

    number: int
    asked: int = 0
    answered: int = 0
    noted: bool = False  # by a knife that looks for a place


Knife = Callable[[Line, str, bytes], int | None]
"""Of a connection, `asked` or `answered`, and the bytes that come: how many pass before the cut; None: all, uncut."""


@dataclass
class Cutter:
    """Passes everything on to `target` (a port of loopback or a socket's path), but where its knife cuts.

    Both ends of a cut connection see a reset, as from a machine in between that forgot it.
    """

    target: int | Path
    knife: Knife | None = None
    at: Path | None = None  # a socket's path to listen on; None: any free port of loopback
    cuts: list[tuple[str, int]] = field(default_factory=list)  # direction, after how many bytes
    swallows: bool = False  # from now on whatever comes is taken and goes nowhere, and every connection stays

    def __enter__(self) -> Self:
        self._over = threading.Event()
        self._listener = socket.socket(socket.AF_INET if self.at is None else socket.AF_UNIX)
        self._listener.bind(("127.0.0.1", 0) if self.at is None else str(self.at))
        self._listener.listen(512)
        self._threads = [threading.Thread(target=self._accept, name="cutter")]
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def count(self, way: str) -> int:
        """Return how many connections were cut in one direction: `asked` or `answered`."""
        return sum(cut == way for cut, _ in self.cuts)

    def _accept(self) -> None:
        for number in itertools.count():
            while not select.select([self._listener], [], [], LOOK)[0]:
                if self._over.is_set():
                    return
            client, _ = self._listener.accept()
            thread = threading.Thread(target=self._pass, args=(Line(number), client), name=f"cutter-{number}")
            self._threads.append(thread)
            thread.start()

    def _pass(self, line: Line, client: socket.socket) -> None:
        with closing(client), closing(socket.socket(*self._kind())) as server, suppress(OSError):
            server.connect(str(self.target) if isinstance(self.target, Path) else ("127.0.0.1", self.target))
            while not self._over.is_set():
                for end in select.select([client, server], [], [], LOOK)[0]:
                    way = ("asked", server) if end is client else ("answered", client)
                    if not self._passed(line, *way, end.recv(CHUNK)):
                        _reset(client, server)
                        return

    def _kind(self) -> tuple[socket.AddressFamily]:
        return (socket.AF_UNIX if isinstance(self.target, Path) else socket.AF_INET,)

    def _passed(self, line: Line, way: str, onward: socket.socket, data: bytes) -> bool:
        """Pass bytes on; False: this was the end of the connection, by itself or by the knife."""
        if not data:
            onward.shutdown(socket.SHUT_WR)
            return False
        if self.swallows:
            return True
        upto = None if self.knife is None else self.knife(line, way, data)
        onward.sendall(data[:upto])
        setattr(line, way, getattr(line, way) + len(data[:upto]))
        if upto is not None:
            self.cuts.append((way, getattr(line, way)))
        return upto is None


def _reset(*ends: socket.socket) -> None:
    for end in ends:
        if end.family is not socket.AF_UNIX:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def after(places: dict[int, tuple[str, int]]) -> Knife:
    """Cut the connection of each number in one direction after so many bytes; the others pass."""

    def knife(line: Line, way: str, data: bytes) -> int | None:
        wanted, place = places.get(line.number, ("", 0))
        left = place - getattr(line, way)
        return max(left, 0) if way == wanted and left < len(data) else None

    return knife
