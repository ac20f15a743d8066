"""PostgreSQL and Valkey for every test process of one run: a process of its own, started by whoever comes first.

It belongs to nobody's session, so Ctrl-C does not reach it, and it counts its users by their open connections: the
kernel closes those however a test process ends. When the last is gone it stops the engines, removes the folder and
ends.
"""

import contextlib
import fcntl
import os
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 90.0
LINGER_SECONDS = 0.5


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One test process at a time."""
    with (folder / "engines.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def joined(folder: Path) -> Iterator[Path]:
    """Use the engines under `folder`, starting them if nobody has; yields their home."""
    with locked(folder):
        connection = _connect(folder) or _start(folder)
    with connection:
        yield folder / "home"


def _connect(folder: Path) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(folder / "users"))
    except OSError:
        connection.close()
        return None
    return connection


def _start(folder: Path) -> socket.socket:
    with (folder / "engines.log").open("wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, str(Path(__file__)), str(folder)],
            # PostgreSQL's connections are for whole installations, one of each test process and more.
            env=os.environ | {"PYTHONPATH": str(ROOT), "EVERGRANT_WORKERS": "32"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while keeper.poll() is None and time.monotonic() < deadline:
        if connection := _connect(folder):
            keeper.returncode = 0  # it outlives us, and that is no leak
            return connection
        time.sleep(0.05)
    message = f"the engines did not start: {(folder / 'engines.log').read_text(encoding='utf-8')}"
    raise RuntimeError(message)


def keep(folder: Path) -> None:
    """Run the engines until nobody uses them; this is the process of its own."""
    from worker.embedded.engines import Engines

    with Engines(folder / "home") as engines, socket.socket(socket.AF_UNIX) as door:
        door.bind(str(folder / "users"))
        door.listen(64)
        while True:
            _wait_until_unused(door)
            with locked(folder):
                if not select.select([door], [], [], 0)[0]:  # else somebody came in the meantime
                    (folder / "users").unlink()
                    engines.stop()
                    shutil.rmtree(engines.home.path)
                    return


def _wait_until_unused(door: socket.socket) -> None:
    users: list[socket.socket] = []
    idle_since = time.monotonic()
    while users or time.monotonic() - idle_since < LINGER_SECONDS:
        ready, _, _ = select.select([door, *users], [], [], LINGER_SECONDS)
        for one in ready:
            if one is door:
                users.append(door.accept()[0])
            else:  # nobody ever says anything, so this is its end
                users.remove(one)
                one.close()
        if users:
            idle_since = time.monotonic()


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
