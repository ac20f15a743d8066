"""Frames: how records lie in a segment, framed and summed, so that a torn or damaged one hides no other.

    magic (4) | kind (1) | length (4) | crc32 of kind, length and payload (4) | payload

Space that was reserved and not yet written reads as zeros and is no damage.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

MAGIC = b"\xe5EG\x01"

_HEAD = struct.Struct(">4sBII")
_SUMMED = struct.Struct(">BI")
HEAD_BYTES = _HEAD.size
# Larger than any record: an answer is capped at 64 KiB, a batch of marks at far less.
MOST_BYTES = 1 << 24
UNWRITTEN = bytes(16)


class RecordKind(IntEnum):
    """What a record holds."""

    ENTRY = 1  # a provider's answer
    MARKS = 2  # positions of entries that were settled
    END = 3  # a revocation that ended
    TICK = 4  # a tick id that was seen in the database


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole record; `payload` is still sealed."""

    offset: int
    kind: int
    payload: bytes

    @property
    def end(self) -> int:
        """The byte after it."""
        return self.offset + HEAD_BYTES + len(self.payload)


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are no record; `tail`: what a killed writer left at the end of a segment, half written."""

    offset: int
    end: int
    tail: bool


def frame(kind: RecordKind, payload: bytes) -> bytes:
    """Put head and checksum before a sealed payload."""
    return _HEAD.pack(MAGIC, kind, len(payload), _sum(kind, payload)) + payload


def payload_bytes(head: bytes) -> int:
    """How long the payload is that follows that head; nothing where it is no head."""
    if len(head) < HEAD_BYTES:
        return 0
    magic, _, length, _ = _HEAD.unpack(head)
    return length if magic == MAGIC and length <= MOST_BYTES else 0


def frame_at(data: bytes, offset: int) -> Frame | None:
    """The whole record that begins at that byte, if there is one."""
    if data[offset : offset + len(MAGIC)] != MAGIC or offset + HEAD_BYTES > len(data):
        return None
    _, kind, length, checksum = _HEAD.unpack_from(data, offset)
    start = offset + HEAD_BYTES
    if length > MOST_BYTES or start + length > len(data):
        return None
    payload = data[start : start + length]
    return Frame(offset, kind, payload) if _sum(kind, payload) == checksum else None


def scan(data: bytes) -> Iterator[Frame | Damage]:
    """Every whole record of a segment, and what lies between them and is none."""
    offset = 0
    while offset < len(data):
        found = frame_at(data, offset) or _next_frame(data, offset + 1)
        end = found.offset if found else len(data)
        if end > offset and (found or data[offset:].strip(b"\0")):
            yield Damage(offset, end, tail=found is None and _is_half_written(data[offset:]))
        if found is None:
            return
        yield found
        offset = found.end


def _is_half_written(rest: bytes) -> bool:
    """Whether what stands at the end was never written whole; else it was, and is damaged.

    It stops before its own end, or lacks pages: sealed bytes hold no row of zeros, though one in 256 ends with one,
    and what stands behind the end of a segment that is laid out in advance are zeros.
    """
    written = rest.rstrip(b"\0")
    if len(written) < HEAD_BYTES:
        return True
    magic, _, length, _ = _HEAD.unpack_from(rest)
    whole = rest[: HEAD_BYTES + length] if magic == MAGIC else written
    return UNWRITTEN in whole or bool(magic == MAGIC and HEAD_BYTES + length > len(rest))


def _next_frame(data: bytes, offset: int) -> Frame | None:
    while (offset := data.find(MAGIC, offset)) >= 0:
        if found := frame_at(data, offset):
            return found
        offset += 1
    return None


def _sum(kind: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_SUMMED.pack(kind, len(payload))))
