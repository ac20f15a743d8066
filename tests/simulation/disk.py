"""The disk under the journals: real files in memory, writes that fail, and a power switch for one process."""

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from tasks.journal import Entry, Journal, JournalBroken, Position
from tasks.journal.disk import Disk
from tests.simulation.weather import Weather
from tests.simulation.world import World


class Owner(Protocol):
    """What a disk and a journal need of their process."""

    alive: bool
    world: World
    weather: Weather
    disk: "FaultyDisk"

    def step(self, name: str) -> None: ...
    def made_durable(self, entries: Sequence[Entry], positions: Sequence[Position]) -> None: ...
    def not_kept(self, entries: Sequence[Entry]) -> None: ...
    def marked(self, positions: Sequence[Position]) -> None: ...


class FaultyDisk(Disk):
    """The disk of one process."""

    def __init__(self, process: Owner) -> None:
        self.process = process
        self.full = False
        self.failed = False  # ever
        self.written = 0

    def write(self, fd: int, data: bytes, offset: int) -> int:
        self._check("journal write")
        if self.full or self._fails():
            self.failed = True
            raise OSError(errno.ENOSPC, "no space left on device")
        written = super().write(fd, data, offset)
        self.written += 1
        self.process.step("journal written")
        return written

    def sync(self, fd: int) -> None:  # noqa: ARG002  # memory needs none
        self._check("journal sync")
        if self._fails():
            self.failed = True
            raise OSError(errno.EIO, "input/output error")

    def reserve(self, fd: int, offset: int, length: int) -> None:
        self._check("journal reserve")
        if self.full:
            self.failed = True
            raise OSError(errno.ENOSPC, "no space left on device")
        super().reserve(fd, offset, length)

    def _check(self, name: str) -> None:
        if not self.process.alive:
            raise OSError(errno.EIO, "the process is dead")
        self.process.step(name)

    def _fails(self) -> bool:
        share = self.process.weather.disk
        return bool(share) and self.process.world.random.random() < share


class WatchedJournal(Journal):
    """A journal that tells which answers are safe from a kill."""

    worker: Owner

    def append(self, entries: Sequence[Entry]) -> list[Position]:
        disk = self.worker.disk
        before, positions = disk.written, list[Position]()
        try:
            positions = super().append(entries)
        except JournalBroken as error:
            positions = error.positions
            self.worker.not_kept(entries[len(positions) :])
            raise
        finally:
            if disk.written > before:
                self.worker.made_durable(entries, positions)
        return positions

    def mark_settled(self, positions: Sequence[Position]) -> None:
        self.worker.marked(positions)
        super().mark_settled(positions)


def power_off(journal: Journal) -> None:
    """Let go of the files as the kernel does when a process is killed."""
    segment = journal._writer._segment
    if segment is not None:
        with suppress(OSError):
            os.close(segment._fd)
    journal._flock.release()
