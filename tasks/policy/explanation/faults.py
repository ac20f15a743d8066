"""Why a process says that it can do nothing now, and what mends it; told by the process in words of its own.

In brackets at the end stands where: for whoever runs the installation, and for no application.
"""

import re
from typing import Final, NamedTuple

BROKER: Final = "the broker"
JOURNAL: Final = "the journal"
OF_UP: Final = re.compile(r"process (\d+) of `evergrant up`\)")
READ_ONLY: Final = "the database is read-only"
COMMITS_NOTHING: Final = "the database commits nothing"
HANGS: Final = f"{BROKER} hangs"
REFUSES: Final = f"{BROKER} refuses"
SHARED: Final = f"{BROKER} is shared with another installation"
NO_ROOM: Final = "No space left on device"  # as a server says it of its own disk
PLACE: Final = re.compile(r" \(.*\)")


class Mended(NamedTuple):
    """What a person does in words, and the command to copy."""

    remedy: str
    command: str


# By how a fault starts; the first that fits.
MENDS: Final = {
    READ_ONLY: Mended(
        "turn default_transaction_read_only off in PostgreSQL (alter system or alter database … reset, then select"
        " pg_reload_conf()); what runs goes on by itself",
        "evergrant db check",
    ),
    COMMITS_NOTHING: Mended(
        "see that PostgreSQL's disk has room and is not frozen, and that no synchronous standby is missing; what runs"
        " goes on by itself",
        "evergrant db check",
    ),
    HANGS: Mended("end the broker's process, by kill -9 if need be, and start it again", "evergrant doctor"),
    REFUSES: Mended("let the broker take writes: see its log, its maxmemory, its replicas", "evergrant doctor"),
    SHARED: Mended(
        "give each a broker or a database number of its own in EVERGRANT_BROKER_URL, as redis://host:6379/1; start its"
        " beats, workers and applications that send again",
        "evergrant doctor",
    ),
    BROKER: Mended("start the broker, or correct EVERGRANT_BROKER_URL", "evergrant doctor"),
    JOURNAL: Mended("make room on that file system, or let the worker's user write there", "evergrant doctor"),
}
HOME: Final = Mended("make room where EVERGRANT_HOME lies, or make it writable", "evergrant doctor")


def mended(fault: str) -> Mended:
    """What mends a fault; one that an older release tells says less, and so does its remedy."""
    if of_up := OF_UP.search(fault):
        return Mended("end that process, `evergrant up` starts another in its place", f"kill -9 {of_up[1]}")
    if fault.startswith(REFUSES) and NO_ROOM in fault:
        return Mended("make room on the disk that the broker writes to", "evergrant doctor")
    return next((mends for starts, mends in MENDS.items() if fault.startswith(starts)), HOME)


def of_an_absent_broker(fault: str | None) -> bool:
    """Whether a broker is the fault, and none that merely is shared: a worker that starts waits for it, unheard."""
    return fault is not None and fault.startswith(BROKER) and not fault.startswith(SHARED)


def without_place(told: str) -> str:
    """The same for whom it is no business on which machine and where."""
    return PLACE.sub("", told)
