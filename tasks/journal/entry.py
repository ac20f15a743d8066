"""Entry: what a journal holds of an answer, of an end and of a tick, and its plain bytes before sealing."""

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

Kind = Literal["refresh", "exchange"]

_LENGTH = struct.Struct(">I")
_MARK = struct.Struct(">IQ")


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a record stands: journal, segment, byte."""

    journal_id: int
    segment: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A provider's answer to one request, as it came over the wire.

    `generation` is the one that was asked from (0 for an exchange), `fingerprint` that of the token sent,
    `credentials_no` the client's credentials it was sent under.
    """

    kind: Kind
    grant_id: str
    client: str
    ref: str
    labels: dict[str, list[str]]
    generation: int
    fingerprint: bytes
    credentials_no: int
    started_at: datetime
    received_at: datetime
    status: int
    body: bytes = field(repr=False)


class Kept(NamedTuple):
    """An entry read back, and whether the journal says that it was settled."""

    position: Position
    entry: Entry
    settled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """A revocation of a grant ended: a restored database must not bring the grant back. `erase`: nor whose it was."""

    grant_id: str
    ended_at: datetime
    revocation_id: int | None = None
    evidence: str = ""
    erase: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A tick id that was seen in the database: a table that lacks it has lost commits."""

    tick_id: str
    seen_at: datetime


def encode_entry(entry: Entry) -> bytes:
    """Length of a JSON head, the head, the body untouched."""
    head = {
        "kind": entry.kind,
        "grant_id": entry.grant_id,
        "client": entry.client,
        "ref": entry.ref,
        "labels": entry.labels,
        "generation": entry.generation,
        "fingerprint": entry.fingerprint.hex(),
        "credentials_no": entry.credentials_no,
        "started_at": entry.started_at.isoformat(),
        "received_at": entry.received_at.isoformat(),
        "status": entry.status,
    }
    packed = json.dumps(head, separators=(",", ":")).encode()
    return _LENGTH.pack(len(packed)) + packed + entry.body


def decode_entry(data: bytes) -> Entry:
    """Read what `encode_entry` wrote; members of a newer release are passed over."""
    (length,) = _LENGTH.unpack_from(data)
    end = _LENGTH.size + length
    head: dict[str, Any] = json.loads(data[_LENGTH.size : end])
    return Entry(
        kind=head["kind"],
        grant_id=head["grant_id"],
        client=head["client"],
        ref=head["ref"],
        labels=head["labels"],
        generation=head["generation"],
        fingerprint=bytes.fromhex(head["fingerprint"]),
        credentials_no=head["credentials_no"],
        started_at=datetime.fromisoformat(head["started_at"]),
        received_at=datetime.fromisoformat(head["received_at"]),
        status=head["status"],
        body=data[end:],
    )


def encode_end(end: End) -> bytes:
    """An end as JSON."""
    return json.dumps(
        {
            "grant_id": end.grant_id,
            "ended_at": end.ended_at.isoformat(),
            "revocation_id": end.revocation_id,
            "evidence": end.evidence,
            "erase": end.erase,
        }
    ).encode()


def decode_end(data: bytes) -> End:
    """Read what `encode_end` wrote."""
    read: dict[str, Any] = json.loads(data)
    return End(
        grant_id=read["grant_id"],
        ended_at=datetime.fromisoformat(read["ended_at"]),
        revocation_id=read["revocation_id"],
        evidence=read["evidence"],
        erase=read.get("erase", False),
    )


def encode_tick(tick: Tick) -> bytes:
    """A tick as JSON."""
    return json.dumps({"tick_id": tick.tick_id, "seen_at": tick.seen_at.isoformat()}).encode()


def decode_tick(data: bytes) -> Tick:
    """Read what `encode_tick` wrote."""
    read: dict[str, Any] = json.loads(data)
    return Tick(tick_id=read["tick_id"], seen_at=datetime.fromisoformat(read["seen_at"]))


def encode_marks(positions: Iterable[Position]) -> bytes:
    """Segment and byte of each settled entry; the journal is the one that the mark stands in."""
    return b"".join(_MARK.pack(position.segment, position.offset) for position in positions)


def decode_marks(data: bytes, journal_id: int) -> list[Position]:
    """Read what `encode_marks` wrote in that journal."""
    return [Position(journal_id, segment, offset) for segment, offset in _MARK.iter_unpack(data)]
