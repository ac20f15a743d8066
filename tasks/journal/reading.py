"""Read a journal's segments back: every whole record opened, every damaged one noted and passed over."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from models.sealing.vault import SealBroken, Vault
from tasks.journal.damage import Damages
from tasks.journal.entry import Entry, Position, decode_entry, decode_marks
from tasks.journal.frames import HEAD_BYTES, Damage, Frame, RecordKind, frame_at, payload_bytes, scan
from tasks.journal.segment import SegmentCipher, log_path, numbers, read_key, reason_of


@dataclass(frozen=True, slots=True)
class Record:
    """A whole record that is opened when asked."""

    position: Position
    kind: int
    _payload: bytes
    _cipher: SegmentCipher
    _damages: Damages

    def open(self) -> bytes | None:
        """Its plain bytes; none, and noted, where they do not open."""
        try:
            return self._cipher.open(self.kind, self.position.offset, self._payload)
        except SealBroken:
            self._damages.note_record(self.position)
            return None


def read_segments(
    folder: Path, journal_id: int, vault: Vault, *, damages: Damages, upto: tuple[int, int] | None = None
) -> Iterator[Record]:
    """Every record in the order it was written, up to a byte of a segment that is still written.

    Raises:
        KeyMissing: the ring lacks the key of a segment.

    """
    every = numbers(folder)
    for number in every:
        limit = None
        if upto is not None and number >= upto[0]:
            limit = upto[1] if number == upto[0] else 0
        try:
            data = _bytes_of(folder, number, limit)
            cipher = read_key(folder, journal_id, number, vault) if data.strip(b"\0") else None
        except OSError as error:
            damages.note_unreadable(number, reason_of(error))
            continue
        if cipher is not None:
            yield from _records(data, journal_id, number, cipher, damages=damages, is_last=number == every[-1])
        elif data.strip(b"\0"):
            damages.note_key(number)


def _bytes_of(folder: Path, number: int, limit: int | None) -> bytes:
    try:
        with log_path(folder, number).open("rb") as file:
            return file.read() if limit is None else file.read(limit)
    except FileNotFoundError:  # shredded just now
        return b""


def _records(
    data: bytes, journal_id: int, number: int, cipher: SegmentCipher, *, damages: Damages, is_last: bool
) -> Iterator[Record]:
    for found in scan(data):
        position = Position(journal_id, number, found.offset)
        match found:
            case Frame(kind=kind, payload=payload):
                yield Record(position, kind, payload, cipher, damages)
            case Damage(tail=False):
                damages.note_record(position)
            case Damage():
                # Whoever takes a journal over cuts the torn tail off, before anything of it is written behind.
                (damages.note_torn if is_last else damages.note_cut)(position)


def torn_tail(folder: Path, number: int) -> int | None:
    """Where the torn tail of a segment begins, if it has one.

    Raises:
        OSError: it cannot be read.

    """
    tails = [
        found.offset for found in scan(_bytes_of(folder, number, None)) if isinstance(found, Damage) and found.tail
    ]
    return tails[0] if tails else None


def read_at(
    folder: Path, positions: Iterable[Position], vault: Vault, *, damages: Damages
) -> Iterator[tuple[Position, Entry]]:
    """The entries at those places, one segment at a time held in memory by its key alone.

    Raises:
        KeyMissing: the ring lacks the key of a segment.

    """
    ciphers: dict[int, SegmentCipher | None] = {}
    for position in positions:
        number = position.segment
        try:
            if number not in ciphers:
                ciphers[number] = read_key(folder, position.journal_id, number, vault)
            cipher = ciphers[number]
            found = _frame_of(folder, position) if cipher else None
        except OSError as error:
            damages.note_unreadable(number, reason_of(error))
            continue
        if cipher is None or found is None:
            damages.note_record(position)
        elif plain := Record(position, found.kind, found.payload, cipher, damages).open():
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
