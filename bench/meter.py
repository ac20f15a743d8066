"""What processes cost: CPU seconds and memory of a process with all that it has started, from /proc."""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes and their descendants; of those that ended, too, once waited for."""
    ticks = 0
    for pid in _families(pids):
        fields = _stat(pid)
        ticks += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
    return ticks / TICKS_PER_SECOND


def exact_cpu_seconds(pids: Iterable[int]) -> float:
    """The scheduler's own count, to the nanosecond, of threads that live now: for what costs less than a few ticks."""
    total = 0
    for pid in _families(pids):
        for thread in (PROC / str(pid) / "task").glob("*/schedstat"):
            with suppress(OSError):
                total += int(thread.read_text(encoding="ascii").split()[0])
    return total / 1e9


def memory_mb(pids: Iterable[int]) -> float:
    """Proportional set size in MB (10^6 bytes): what processes share with each other is counted once."""
    return sum(_kilobytes(pid, "smaps_rollup", "Pss:") for pid in _families(pids)) * 1024 / 1e6


def resident_mb(pid: int) -> float:
    """Resident set size of one process in MB (10^6 bytes)."""
    return _kilobytes(pid, "status", "VmRSS:") * 1024 / 1e6


def peak_mb(pid: int) -> float:
    """The most that was ever resident of one process in MB (10^6 bytes)."""
    return _kilobytes(pid, "status", "VmHWM:") * 1024 / 1e6


def sample(parts: Mapping[str, list[int]]) -> dict[str, float]:
    """CPU seconds so far of each part."""
    return {name: cpu_seconds(pids) for name, pids in parts.items()}


def _families(pids: Iterable[int]) -> set[int]:
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: set[int] = set()
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        waiting += children.get(pid, [])
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name; empty once it has gone."""
    try:
        return (PROC / str(pid) / "stat").read_text(encoding="ascii", errors="replace").rpartition(") ")[2].split()
    except OSError:
        return []


def _kilobytes(pid: int, file: str, name: str) -> int:
    try:
        lines = (PROC / str(pid) / file).read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)
