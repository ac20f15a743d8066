"""Why a process says that it can do nothing now, and what mends it; told by the process in words of its own.

In brackets at the end stands where: for whoever runs the installation, and for no application.
"""

import re
from typing import Final, NamedTuple

BROKER: Final = "the broker"
JOURNAL: Final = "the journal"
OF_UP: Final = re.compile(r"process (\d+) of `evergrant up`\)")
HANGS: Final = f"{BROKER} hangs"
PLACE: Final = re.compile(r" \(.*\)")


class Mended(NamedTuple):
    """What a person does in words, and the command to copy."""

    remedy: str
    command: str


def mended(fault: str) -> Mended:
    """What mends a fault; one that an older release tells says less, and so does its remedy."""
    if of_up := OF_UP.search(fault):
        return Mended("end that process, `evergrant up` starts another in its place", f"kill -9 {of_up[1]}")
    if fault.startswith(HANGS):
        return Mended("end the broker's process, by kill -9 if need be, and start it again", "evergrant doctor")
    if fault.startswith(BROKER):
        return Mended("start the broker, or correct EVERGRANT_BROKER_URL", "evergrant doctor")
    if fault.startswith(JOURNAL):
        return Mended("make room on that file system, or let the worker's user write there", "evergrant doctor")
    return Mended("make room where EVERGRANT_HOME lies, or make it writable", "evergrant doctor")


def without_place(told: str) -> str:
    """The same for whom it is no business on which machine and where."""
    return PLACE.sub("", told)
