"""Disk: whether the file system of a home has no room left; then database, broker and journal fail, each in its words.

It is looked at where one is, without asking any of them.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tasks.runtime.mount import mount_of

LEAST_ROOM: Final = 64 * 1024**2  # bytes: four segments of PostgreSQL's WAL; with less it may stop at any commit


@dataclass(frozen=True, slots=True)
class FullDisk:
    """A file system with nearly nothing left; `free`: bytes."""

    folder: Path
    mount: Path
    free: int

    def __str__(self) -> str:
        """Say it; in brackets where, which is no business of an application."""
        return f"the disk is full: {mib(self.free)} are left (for {self.folder}, on the file system of {self.mount})"

    @property
    def step(self) -> str:
        """What to do about it."""
        return f"make room on {self.mount}: what waits goes on by itself then"


def full(home: Path) -> FullDisk | None:
    """The file system of a home, or of the journals in it, where it is full; a home elsewhere is not looked at."""
    home = home.expanduser()
    for folder in (home, home / "journals"):
        try:
            free = shutil.disk_usage(folder).free
        except OSError:
            continue
        if free < LEAST_ROOM:
            return FullDisk(folder=folder, mount=mount_of(folder), free=free)
    return None


def mib(size: int) -> str:
    """Bytes as people read them."""
    return f"{size / 1024**2:.0f} MiB"
