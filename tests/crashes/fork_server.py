"""The fork server: has imported everything and opened nothing, and forks the crash loop's processes in milliseconds.

One JSON line on standard input is one process to start; on standard output it says their pids and their ends. A
forked process is a Celery worker or beat like any other from its first instruction on.
"""

import ctypes
import gc
import json
import os
import random
import select
import signal
import sys
import traceback
from typing import Any

from settings import current
from tests.crashes import entries, hooks
from tests.crashes.strike import Arm, Striker
from tests.crashes.trace import Trace

PR_SET_PDEATHSIG = 1
EVERY = 0.02


def main() -> None:
    """Fork what is asked for until standard input ends."""
    entries.preload()
    gc.freeze()  # so that no child copies what it only inherited
    say(ready=os.getpid())
    asked = b""
    while True:
        if select.select([0], [], [], EVERY)[0]:
            data = os.read(0, 1 << 16)
            if not data:
                return
            asked += data
            *whole, asked = asked.split(b"\n")
            for line in whole:
                fork(json.loads(line))
        reap()


def fork(order: dict[str, Any]) -> None:
    """Start one process."""
    pid = os.fork()
    if pid:
        say(name=order["name"], pid=pid)
        return
    try:
        live(order)
        os._exit(0)
    except SystemExit as end:
        os._exit(end.code if isinstance(end.code, int) else 1)
    except BaseException:  # noqa: BLE001  # the parent's loop must not go on in here
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(1)


def live(order: dict[str, Any]) -> None:
    """Be the process that was asked for, with its fail-points."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.setsid()
    home = current().home
    log = os.open(home / "logs" / f"{order['name']}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for fd, of in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(fd, of)
    random.seed()
    trace = Trace(home / "traces" / f"{order['name']}.jsonl")
    url = current().database_url
    assert url is not None
    hooks.install(Striker(trace, Arm(**order["arm"]) if order["arm"] else None, database_url=url.get_secret_value()))
    entries.ENTRIES[order["kind"]](order["name"], trace, **order["more"])


def reap() -> None:
    """Tell of processes that have ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        say(pid=pid, end=os.waitstatus_to_exitcode(status))


def say(**members: Any) -> None:
    """One line to the crash loop."""
    os.write(1, json.dumps(members).encode() + b"\n")


if __name__ == "__main__":
    main()
