"""Read a journal's segments back: every whole record opened, every damaged one told and passed over."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from models.sealing.vault import SealBroken, Vault
from tasks.journal.entry import Entry, Position, decode_entry, decode_marks
from tasks.journal.frames import HEAD_BYTES, Damage, Frame, RecordKind, frame_at, payload_bytes, scan
from tasks.journal.segment import SegmentCipher, log_path, numbers, read_key

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Record:
    """A whole record that is opened when asked."""

    position: Position
    kind: int
    _payload: bytes
    _cipher: SegmentCipher

    def open(self) -> bytes | None:
        """Its plain bytes; none, and a line in the log, where they do not open."""
        try:
            return self._cipher.open(self.kind, self.position.offset, self._payload)
        except SealBroken:
            tell_damage(self.position, tail=False)
            return None


def tell_damage(position: Position, *, tail: bool) -> None:
    """Say once a reading that bytes were passed over; a torn tail is what a kill leaves behind."""
    level = log.warning if tail else log.error
    level(
        "journal.record_damaged",
        journal_id=position.journal_id,
        segment=position.segment,
        offset=position.offset,
        torn_tail=tail,
    )


def read_segments(
    folder: Path, journal_id: int, vault: Vault, *, upto: tuple[int, int] | None = None
) -> Iterator[Record]:
    """Every record in the order it was written, up to a byte of a segment that is still written.

    Raises:
        KeyMissing: the ring lacks the key of a segment.

    """
    for number in numbers(folder):
        limit = None
        if upto is not None and number >= upto[0]:
            limit = upto[1] if number == upto[0] else 0
        yield from _read_segment(folder, journal_id, number, vault, limit)


def _read_segment(folder: Path, journal_id: int, number: int, vault: Vault, limit: int | None) -> Iterator[Record]:
    try:
        with log_path(folder, number).open("rb") as file:
            data = file.read() if limit is None else file.read(limit)
    except FileNotFoundError:  # shredded just now
        return
    if not data:
        return
    cipher = read_key(folder, journal_id, number, vault)
    if cipher is None:
        log.error("journal.segment_without_key", journal_id=journal_id, segment=number)
        return
    for found in scan(data):
        position = Position(journal_id, number, found.offset)
        match found:
            case Frame(kind=kind, payload=payload):
                yield Record(position, kind, payload, cipher)
            case Damage(tail=tail):
                tell_damage(position, tail=tail)


def read_at(folder: Path, positions: Iterable[Position], vault: Vault) -> Iterator[tuple[Position, Entry]]:
    """The entries at those places, one segment at a time held in memory by its key alone.

    Raises:
        KeyMissing: the ring lacks the key of a segment.

    """
    ciphers: dict[int, SegmentCipher | None] = {}
    for position in positions:
        number = position.segment
        if number not in ciphers:
            ciphers[number] = read_key(folder, position.journal_id, number, vault)
        cipher = ciphers[number]
        found = _frame_of(folder, position) if cipher else None
        if cipher is None or found is None:
            tell_damage(position, tail=False)
        elif plain := Record(position, found.kind, found.payload, cipher).open():
            yield position, decode_entry(plain)


def _frame_of(folder: Path, position: Position) -> Frame | None:
    with log_path(folder, position.segment).open("rb") as file:
        file.seek(position.offset)
        head = file.read(HEAD_BYTES)
        data = head + file.read(payload_bytes(head))
    found = frame_at(data, 0)
    return found and Frame(position.offset, found.kind, found.payload)


def unsettled_positions(records: Iterator[Record]) -> set[Position]:
    """The entries that no later mark names; the set stays as small as what was under way at once."""
    unsettled: set[Position] = set()
    for record in records:
        if record.kind == RecordKind.ENTRY:
            unsettled.add(record.position)
        elif record.kind == RecordKind.MARKS and (plain := record.open()):
            unsettled.difference_update(decode_marks(plain, record.position.journal_id))
    return unsettled
