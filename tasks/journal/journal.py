"""The journal of one process: append answers durably, mark them settled, read them back.

Room for the answers that are under way is reserved before anything is sent (`check_writable`), so that a disk that
fills up stops the sending and not the writing.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import structlog

from models.sealing.vault import Vault, VaultError
from tasks.journal.damage import Damages
from tasks.journal.disk import Disk, cut_file, sync_folder, write_file
from tasks.journal.entry import (
    End,
    Entry,
    Kept,
    Position,
    Tick,
    decode_end,
    decode_entry,
    decode_tick,
    encode_end,
    encode_entry,
    encode_marks,
    encode_tick,
)
from tasks.journal.errors import JournalBroken
from tasks.journal.frames import RecordKind
from tasks.journal.lock import FolderLock
from tasks.journal.names import DRAINED
from tasks.journal.reading import Record, read_at, read_segments, torn_tail, unsettled_positions
from tasks.journal.segment import Segment, finish_shredding, log_path, numbers, reason_of, shred
from tasks.journal.writer import DEFAULT_SIZES, Sizes, Writer

log = structlog.get_logger(__name__)

TICK_SYNC = timedelta(seconds=5)


def utc_now() -> datetime:
    """The wall clock; it only decides when a new segment begins."""
    return datetime.now(UTC)


class Journal:
    """A journal this process holds; every method may be called from any thread."""

    def __init__(
        self,
        folder: Path,
        journal_id: int,
        lock: FolderLock,
        *,
        vault: Vault,
        sizes: Sizes = DEFAULT_SIZES,
        clock: Callable[[], datetime] = utc_now,
        disk: Disk | None = None,
        quiet: bool = False,
    ) -> None:
        """`quiet`: what of it cannot be read was told before."""
        self.journal_id = journal_id
        self.folder = folder
        self._flock = lock
        self._vault = vault
        self._writer = Writer(folder, journal_id, vault=vault, sizes=sizes, clock=clock, disk=disk or Disk())
        self._clock = clock
        self._lock = threading.Lock()
        self._closed = False
        self._synced_at = clock()
        self._marks: list[Position] = []
        self._damages = Damages(journal_id, quiet=quiet)
        self._unsettled = unsettled_positions(read_segments(folder, journal_id, vault, damages=self._damages))
        self._cut_torn_tail()

    @classmethod
    def open(
        cls,
        folder: Path,
        journal_id: int,
        *,
        vault: Vault,
        sizes: Sizes = DEFAULT_SIZES,
        clock: Callable[[], datetime] = utc_now,
        disk: Disk | None = None,
    ) -> Self:
        """Make or take this process's own journal, a sub-folder of `folder`, and hold it.

        Raises:
            JournalHeld: another process holds it.
            JournalBroken: the folder cannot be made.
            KeyMissing: what it holds is sealed with a key that the ring lacks.

        """
        own = folder / str(journal_id)
        try:
            lock = FolderLock.make(own, journal_id)
            (own / DRAINED).unlink(missing_ok=True)
        except OSError as error:
            raise JournalBroken(reason_of(error)) from error
        try:
            return cls(own, journal_id, lock, vault=vault, sizes=sizes, clock=clock, disk=disk)
        except VaultError:
            lock.release()
            raise

    # Writing

    def append(self, entries: Sequence[Entry]) -> list[Position]:
        """Keep answers: when it returns they are on the platter. One write and at most one fdatasync a group.

        Raises:
            JournalBroken: they may not be; settle them straight to the database.

        """
        if not entries:
            return []
        with self._lock:
            segment, positions = self._writer.write(RecordKind.ENTRY, [encode_entry(entry) for entry in entries])
            self._unsettled.update(positions)
            end = segment.end
        self._sync(segment, end, positions)
        return positions

    def mark_settled(self, positions: Sequence[Position]) -> None:
        """Note that entries were settled; never fails, and a mark that is lost costs an idempotent replay."""
        if not positions:
            return
        with self._lock:
            self._unsettled.difference_update(positions)
            self._marks.extend(positions)
            with suppress(JournalBroken):
                self._write_marks()

    def note_end(self, end: End) -> None:
        """Note on the platter that a revocation ended, so that a restored database does not forget it.

        Raises:
            JournalBroken: it could not be written.

        """
        with self._lock:
            segment, _ = self._writer.write(RecordKind.END, [encode_end(end)])
            upto = segment.end
        self._sync(segment, upto, [])

    def note_tick(self, tick_id: str, at: datetime) -> None:
        """Note that a tick was seen in the database; never fails, and reaches the platter within seconds."""
        tick = encode_tick(Tick(tick_id=tick_id, seen_at=at))
        with suppress(JournalBroken):
            with self._lock:
                segment, _ = self._writer.write(RecordKind.TICK, [tick])
                upto = segment.end
                due = abs(self._clock() - self._synced_at) >= TICK_SYNC
            if due:
                self._sync(segment, upto, [])

    def check_writable(self) -> str | None:
        """Guard before sending: nothing where the answers under way will find room, else the reason.

        Costs a comparison while all is well; in trouble it tries the disk again once a second, so that sending goes
        on by itself.
        """
        if self._writer.has_room:
            return None
        with self._lock:
            return self._writer.make_room()

    # Reading

    def unsettled(self) -> Iterator[Kept]:
        """Entries without a mark, by generation, so in order for each grant.

        Raises:
            KeyMissing: the ring lacks the key of a segment.

        """
        with self._lock:
            positions = sorted(self._unsettled)
        found = read_at(self.folder, positions, self._vault, damages=self._damages)
        order = sorted((entry.generation, position) for position, entry in found)
        in_order = read_at(self.folder, (position for _, position in order), self._vault, damages=self._damages)
        return (Kept(position, entry, settled=False) for position, entry in in_order)

    def entries(self, since: datetime | None = None) -> Iterator[Kept]:
        """Every entry kept, settled or not, received since then: what a restored database is given again.

        In order of generation within a segment, segments in the order they were written; a grant's later generation
        is asked for only after its earlier one was answered, so it never stands in an earlier segment.

        Raises:
            KeyMissing: the ring lacks the key of a segment.

        """
        with self._lock:
            unsettled = set(self._unsettled)
        segment: list[Kept] = []
        for record in self._records(RecordKind.ENTRY):
            if segment and segment[0].position.segment != record.position.segment:
                yield from sorted(segment, key=_generation)
                segment = []
            entry = decode_entry(plain) if (plain := record.open()) else None
            if entry and (since is None or entry.received_at >= since):
                segment.append(Kept(record.position, entry, record.position not in unsettled))
        yield from sorted(segment, key=_generation)

    def ends(self) -> Iterator[End]:
        """Every revocation's end that is kept.

        Raises:
            KeyMissing: the ring lacks the key of a segment.

        """
        return (decode_end(plain) for record in self._records(RecordKind.END) if (plain := record.open()))

    def ticks(self) -> Iterator[Tick]:
        """Every tick that is kept.

        Raises:
            KeyMissing: the ring lacks the key of a segment.

        """
        return (decode_tick(plain) for record in self._records(RecordKind.TICK) if (plain := record.open()))

    @property
    def damage(self) -> str | None:
        """What of it cannot be read, as far as it was read; none: nothing."""
        return self._damages.sentence

    # The end of it

    def shred(self, before: datetime) -> int:
        """Destroy segments last written before then, oldest first, and say how many.

        Stops at one that holds an unsettled entry, or that is written now: what comes after it may hold its marks.
        """
        with self._lock:
            kept = {position.segment for position in self._unsettled}
            if now := self._writer.end:
                kept.add(now[0])
        gone = 0
        finish_shredding(self.folder)
        for number in numbers(self.folder):
            if number in kept or log_path(self.folder, number).stat().st_mtime >= before.timestamp():
                break
            shred(self.folder, number)
            gone += 1
        return gone

    def close(self, *, drained: bool = False) -> bool:
        """Let the journal go; `drained` says that all of it was settled or replayed and that this is recorded.

        Returns whether it is marked drained on this disk: not while an entry has no mark.
        """
        with self._lock:
            if self._closed:
                return False
            with suppress(JournalBroken):
                self._write_marks()
            self._closed = True
            self._writer.close()
            marked = drained and not self._unsettled and self.damage is None and self._note_drained()
        self._flock.release()
        return marked

    # Steps

    def _cut_torn_tail(self) -> None:
        """Cut off what a kill left: once another segment follows, an end in the midst of a record is damage."""
        every = numbers(self.folder)
        with suppress(OSError):
            if every and (tail := torn_tail(self.folder, every[-1])) is not None:
                cut_file(log_path(self.folder, every[-1]), tail)

    def _records(self, kind: RecordKind) -> Iterator[Record]:
        with self._lock:
            upto = self._writer.end
        records = read_segments(self.folder, self.journal_id, self._vault, damages=self._damages, upto=upto)
        return (record for record in records if record.kind == kind)

    def _write_marks(self) -> None:
        """Write every mark that is not in the file yet; the journal's lock is held."""
        if self._marks:
            self._writer.write(RecordKind.MARKS, [encode_marks(self._marks)])
            self._marks = []

    def _sync(self, segment: Segment, upto: int, positions: list[Position]) -> None:
        try:
            segment.sync(upto)
        except OSError as error:
            log.error("journal.sync_failed", journal_id=self.journal_id, reason=reason_of(error))  # noqa: TRY400
            raise JournalBroken(reason_of(error), positions) from error
        self._synced_at = self._clock()

    def _note_drained(self) -> bool:
        try:
            if not (self.folder / DRAINED).exists():
                write_file(self.folder / DRAINED, b"")
                sync_folder(self.folder)
        except OSError as error:
            log.warning("journal.drained_not_noted", journal_id=self.journal_id, reason=reason_of(error))
            return False
        return True


def _generation(kept: Kept) -> int:
    return kept.entry.generation
