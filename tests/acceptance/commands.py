"""Command lines, each in a process of its own that begins with the libraries loaded: forked from one that waits for it.

To start Python and load what we depend on is nine tenths of what a command costs, and a suite carries out a thousand to
prepare what it tries. Nothing of ours is loaded before the fork: arguments, environment, folder and standard files are
there first, as they would be. Tests of the command line itself start it as a shell does (tests/integration/cli).
"""

import atexit
import functools
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

LIBRARIES = (
    "asyncio",
    "click",
    "cryptography.hazmat.primitives.ciphers.aead",
    "psycopg",
    "pydantic_settings",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.orm",
    "structlog",
)
MOST = 1 << 18  # bytes of one order
_starting = threading.Lock()


def carried_out(
    arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdin: str, seconds: float
) -> subprocess.CompletedProcess[str]:
    """What `python -m worker.cli` does with these.

    Raises:
        subprocess.TimeoutExpired: it took longer; it was killed.

    """
    order = {"arguments": list(arguments), "cwd": str(cwd), "env": dict(env)}
    with (
        _waiting(seconds) as waiting,
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        given.write(stdin.encode())
        given.seek(0)
        socket.send_fds(waiting, [json.dumps(order).encode()], [file.fileno() for file in (given, out, err)])
        pid = int(waiting.recv(64))
        try:
            code = int(waiting.recv(64))
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(arguments), seconds) from None
        said = [os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode() for file in (out, err)]
    return subprocess.CompletedProcess(list(arguments), code, *said)


def _waiting(seconds: float) -> socket.socket:
    """A connection to a process that waits to be told what to do."""
    with _starting:
        door = _door()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(seconds)
    connection.connect(door)
    return connection


@functools.cache
def _door() -> str:
    """Start the one that is forked; it ends with this process."""
    path = f"{tempfile.mkdtemp(prefix='evergrant-commands-')}/door"
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.acceptance.commands", path],
        cwd=Path(__file__).resolve().parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    atexit.register(server.communicate)  # its standard input ends, and so does it
    return path


def serve(path: str) -> None:
    """Fork for whoever comes, until our standard input ends."""
    for name in LIBRARIES:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        door.bind(path)
        door.listen(64)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while sys.stdin not in select.select([door, sys.stdin], [], [])[0]:
            connection, _ = door.accept()
            with connection:
                if os.fork() == 0:
                    _carry_out(connection)
    Path(path).unlink()
    Path(path).parent.rmdir()


def _carry_out(connection: socket.socket) -> None:
    """Become the command, beside somebody who tells how it ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, files, _, _ = socket.recv_fds(connection, MOST, 3)
    order = json.loads(message)
    if pid := os.fork():
        connection.send(str(pid).encode())
        connection.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
        os._exit(0)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv = ["evergrant", *order["arguments"]]
    runpy.run_module("worker.cli", run_name="__main__", alter_sys=True)
    sys.exit()


if __name__ == "__main__":
    serve(sys.argv[1])
