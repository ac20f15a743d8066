"""Audit collector: a unix socket of somebody else's that takes lines, as datagrams or as a stream."""

import errno
import socket
from pathlib import Path

# Who takes lines takes them at once; web serves nobody else meanwhile.
PATIENCE_SECONDS = 0.25


class Collector:
    """A connection that is made anew where the collector was started again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._door: socket.socket | None = None

    def write(self, line: bytes) -> None:
        """Hand over a line.

        Raises:
            OSError: nobody takes it.

        """
        if self._door is not None:
            try:
                self._door.sendall(line)
            except TimeoutError:
                self.close()  # of a stream it may have taken a part
                raise
            except OSError:
                self.close()
            else:
                return
        self._door = _connected(self._path)
        self._door.sendall(line)

    def close(self) -> None:
        """Let go of the connection."""
        if self._door is not None:
            self._door.close()
            self._door = None


def _connected(path: Path) -> socket.socket:
    try:
        return _to(path, socket.SOCK_DGRAM)
    except OSError as error:
        if error.errno != errno.EPROTOTYPE:
            raise
    return _to(path, socket.SOCK_STREAM)


def _to(path: Path, kind: socket.SocketKind) -> socket.socket:
    door = socket.socket(socket.AF_UNIX, kind)
    try:
        door.settimeout(PATIENCE_SECONDS)
        door.connect(str(path))
    except OSError:
        door.close()
        raise
    return door
