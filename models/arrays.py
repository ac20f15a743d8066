"""Arrays as parameters: the types of a refresh in PostgreSQL's binary format, the others as psycopg writes them.

psycopg escapes each `bytea` of an array, looks for quotes in it and escapes them, and writes times and lengths of time
as text: of all that settling costs a token set that was an eighth. Integers are always `bigint`: where their type
follows the greatest of them, a statement is prepared anew for each type.
"""

import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from psycopg import Connection
from psycopg.abc import Dumper as AnyDumper
from psycopg.adapt import Dumper, PyFormat
from psycopg.pq import Format
from psycopg.types.array import ListDumper

_HEAD = struct.Struct("!IIIII")  # dimensions, whether a null is there, oid of the elements, length, lower bound
_NULL = b"\xff\xff\xff\xff"
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_DAY = 86_400
_MICROSECONDS = 1_000_000

# Each element stands behind its length in bytes.
_bytes_length = struct.Struct("!I").pack
_uuid = struct.Struct("!I16s").pack
_bigint = struct.Struct("!Iq").pack
_interval = struct.Struct("!Iqii").pack  # microseconds, days, months


def of_texts(values: Sequence[str | None]) -> bytes:
    """A `text[]` in binary, for who sends parameters himself; a text that is none raises UnicodeEncodeError."""
    return _array(25, [None if each is None else each.encode() for each in values], _of_bytes)


def of_byte_strings(values: Sequence[bytes]) -> bytes:
    """A `bytea[]` in binary, for who sends parameters himself."""
    return _array(17, values, _of_bytes)


def _array(element_oid: int, values: Sequence[Any], encoded: Callable[[Any], bytes]) -> bytes:
    head = _HEAD.pack(1, None in values, element_oid, len(values), 1)
    return head + b"".join([_NULL if each is None else encoded(each) for each in values])


def _of_bytes(value: bytes) -> bytes:
    return _bytes_length(len(value)) + value


def _of_uuid(value: UUID) -> bytes:
    return _uuid(16, value.bytes)


def _of_int(value: int) -> bytes:
    return _bigint(8, value)


def _of_time(value: datetime) -> bytes:
    since = value - _EPOCH
    return _bigint(8, (since.days * _DAY + since.seconds) * _MICROSECONDS + since.microseconds)


def _of_length(value: timedelta) -> bytes:
    return _interval(16, value.seconds * _MICROSECONDS + value.microseconds, value.days, 0)


class _BinaryArray(Dumper):
    """One dimension, elements of one type or null."""

    format = Format.BINARY
    element_oid: ClassVar[int]
    encoded: Callable[[Any], bytes]

    def dump(self, obj: Sequence[Any]) -> bytes:
        return _array(self.element_oid, obj, self.encoded)


class _BytesArray(_BinaryArray):
    oid, element_oid = 1001, 17
    encoded = staticmethod(_of_bytes)


class _UuidArray(_BinaryArray):
    oid, element_oid = 2951, 2950
    encoded = staticmethod(_of_uuid)


class _BigintArray(_BinaryArray):
    oid, element_oid = 1016, 20
    encoded = staticmethod(_of_int)


class _TimeArray(_BinaryArray):
    oid, element_oid = 1185, 1184
    encoded = staticmethod(_of_time)


class _IntervalArray(_BinaryArray):
    oid, element_oid = 1187, 1186
    encoded = staticmethod(_of_length)


BINARY: dict[type, type[_BinaryArray]] = {
    bytes: _BytesArray,
    UUID: _UuidArray,
    int: _BigintArray,
    datetime: _TimeArray,
    timedelta: _IntervalArray,
}


class ArrayDumper(ListDumper):
    """Writes lists; chooses by the type of what is in them."""

    def upgrade(self, obj: list[Any], format: PyFormat) -> AnyDumper:  # type: ignore[override]  # noqa: A002
        """Choose the dumper for lists like this one."""
        kinds = set(map(type, obj)) - {type(None)}
        binary = BINARY.get(kinds.pop()) if len(kinds) == 1 else None
        return super().upgrade(obj, format) if binary is None else binary(self.cls, self._tx)


def register(connection: Connection[Any]) -> None:
    """Let a connection write arrays so."""
    connection.adapters.register_dumper(list, ArrayDumper)
