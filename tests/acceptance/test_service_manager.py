"""What systemd hears of each process: that it is ready, again and again that it lives, and that a worker leaves."""

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from tests.acceptance.conftest import QUICK
from tests.acceptance.installation import Installation
from tests.polling import eventually


class Manager:
    """Hears what one process tells."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._told: list[str] = []

    def heard(self, *words: str) -> bool:
        """Whether all of these were told, in this order, whatever else came between."""
        try:
            while True:
                self._told += self._listening.recv(4096).decode().splitlines()
        except BlockingIOError:
            rest = iter(self._told)
            return all(word in rest for word in words)


@contextmanager
def manager(path: Path) -> Iterator[Manager]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))
        listening.setblocking(False)
        yield Manager(listening)


def test_each_process_says_that_it_is_ready_and_goes_on_saying_that_it_lives(
    tmp_path: Path, migrated_url: str, broker_url: str
) -> None:
    installation = Installation.made(
        tmp_path / "at", database_url=migrated_url, broker_url=broker_url, ops_bind="127.0.0.1:0", **QUICK
    )
    with ExitStack() as open_sockets:
        started = {}
        for kind in ("worker", "beat", "web"):
            systemd = open_sockets.enter_context(manager(tmp_path / kind))
            installation.env |= {"NOTIFY_SOCKET": str(tmp_path / kind), "WATCHDOG_USEC": "600000"}
            started[kind] = systemd, installation.run(kind, [sys.executable, "-m", "worker.cli", kind])
        try:
            for systemd, _ in started.values():
                eventually(partial(systemd.heard, "READY=1", "WATCHDOG=1", "WATCHDOG=1"), timeout=60)
            for kind, (systemd, running) in started.items():
                assert running.stop() == 0
                assert systemd.heard("STOPPING=1") is (kind == "worker")
        finally:
            installation.close()
