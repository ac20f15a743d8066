"""Sizing: what the embedded PostgreSQL may use of this machine: buffers by its memory, log by its disk.

PostgreSQL's defaults are for any machine: 128 MB of buffers, and a checkpoint after half a gigabyte of log. A claim
reads and changes pages all over the table and its indexes, and the first change of a page after a checkpoint puts the
whole page into the log, so both decide what a large fleet costs (docs/decisions/0010-one-table-and-larger-buffers.md).
Buffers take memory only once they are used: a small fleet never fills them. What a commit promises is not touched.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

MB = 1 << 20
FOR_OTHERS = 50  # connections of applications, commands and whoever looks
BESIDE_WORKERS = 3  # beat, web, and a command of the operator
CGROUP = Path("/sys/fs/cgroup")


def options(*, memory: int, disk: int, processes: int = 0, pool: int = 0) -> dict[str, str]:
    """Settings for a machine with so many bytes of memory, and a disk of that size.

    `processes`: of ours, each with a `pool` of connections at most.
    """
    return {
        "max_connections": str(max(100, processes * pool + FOR_OTHERS)),
        "shared_buffers": _megabytes(memory // 8, least=128, most=8192),
        # Log is kept for as long as there was no checkpoint: so much may lie there, and be read again after a crash.
        "max_wal_size": _megabytes(disk // 16, least=1024, most=4096),
        "checkpoint_timeout": "15min",
    }


def _megabytes(size: int, *, least: int, most: int) -> str:
    return f"{min(max(size // MB, least), most)}MB"


def memory() -> int:
    """Bytes that we may use: the machine's, or what a container or a unit is held to where that is less."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *limits(_own_groups())])


def _own_groups() -> Iterator[Path]:
    """The files that may hold a limit for this process: version 2 of cgroups by its path, and both by their root."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("0::/"):
            yield CGROUP / line.removeprefix("0::/") / "memory.max"
    yield CGROUP / "memory.max"
    yield CGROUP / "memory" / "memory.limit_in_bytes"


def limits(files: Iterable[Path]) -> Iterator[int]:
    """The limits that are set in these files; `max`, and files that are not there, set none."""
    for file in files:
        try:
            said = file.read_text(encoding="ascii").strip()
        except OSError:
            continue
        if said.isdigit():
            yield int(said)
