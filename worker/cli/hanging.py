"""A process that is not heard of: it may live here, and to start another would leave it where it is."""

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.policy.explanation.faults import of_an_absent_broker

Found = Mapping[str, Any]


def hanging(processes: Sequence[Found]) -> list[Found]:
    """Those of them that hang here.

    None while nobody at all is heard of: then it may be the database that takes no word of anybody.
    """
    if not any(each["alive"] for each in processes):
        return []
    return [each for each in processes if not each["alive"] and lives_here(each)]


def lives_here(process: Found) -> bool:
    """Whether its pid is still its own here: the system may have given it to another, whose command is another."""
    if process["host"] != socket.gethostname():
        return False
    try:
        command = Path(f"/proc/{process['pid']}/cmdline").read_bytes()
    except OSError:  # it has ended, or this is no Linux
        return False
    return str(process["kind"]).encode() in command


def remedy(processes: Sequence[Found]) -> str:
    """What ends them; whoever looks after them starts others.

    Politely first: somebody may have locked its row alone, and answers be on their way to it.
    """
    pids = " ".join(str(each["pid"]) for each in processes)
    end = f"kill {pids}; if it is still there after half a minute: kill -9 {pids}"
    return f"it hangs here: {end}; `evergrant up`, or the service manager, starts it again"


def step_before(found: Found, step: str) -> str:
    """What to do about one that is silent, or what comes before."""
    if found["unwritable"]:
        return "see to the database first: no process can say there that it lives"
    if any(of_an_absent_broker(each["fault"]) for each in found["processes"] if each["alive"]):
        return "see to the broker first: a worker that starts waits for it, and is not heard of"
    return step
