"""Arrays as parameters: bytes and ids in PostgreSQL's binary format, the others as psycopg writes them.

psycopg escapes each `bytea` of an array, looks for quotes in it and escapes them: of all that settling costs a token
set that was a tenth.
"""

import struct
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, ClassVar
from uuid import UUID

from psycopg import Connection
from psycopg.abc import Dumper as AnyDumper
from psycopg.adapt import Dumper, PyFormat
from psycopg.pq import Format
from psycopg.types.array import ListDumper

_HEAD = struct.Struct("!IIIII")  # dimensions, whether a null is there, oid of the elements, length, lower bound
_LENGTH = struct.Struct("!I")
_NULL = b"\xff\xff\xff\xff"


class _BinaryArray(Dumper):
    """One dimension, elements of one type or null."""

    format = Format.BINARY
    element_oid: ClassVar[int]
    encoded: Callable[[Any], bytes]

    def dump(self, obj: Sequence[Any]) -> bytes:
        encoded, pack = self.encoded, _LENGTH.pack
        parts = [_HEAD.pack(1, None in obj, self.element_oid, len(obj), 1)]
        for each in obj:
            if each is None:
                parts.append(_NULL)
            else:
                element = encoded(each)
                parts += (pack(len(element)), element)
        return b"".join(parts)


class _BytesArray(_BinaryArray):
    oid, element_oid = 1001, 17
    encoded = bytes


class _UuidArray(_BinaryArray):
    oid, element_oid = 2951, 2950
    encoded = attrgetter("bytes")


BINARY: dict[type, type[_BinaryArray]] = {bytes: _BytesArray, UUID: _UuidArray}


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
