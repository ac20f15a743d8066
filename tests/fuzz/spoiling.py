"""Spoiling: good input, changed in a few places. What is random from end to end is refused at its first byte.

`damaged` changes bytes, `bent` the members of a document; the changes are plain values, so that a finding shows them.
"""

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from random import Random
from typing import Any, Final

from hypothesis import strategies as st

PLACES: Final = 1 << 16
SEEDS: Final = st.integers(0, (1 << 40) - 1)
PIECES: Final = (
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\r\n",
    b'"',
    b"\\",
    b"\\ud800",
    b"{",
    b"]",
    b",",
    b"=",
    b":",
    b"null",
    b"1e400",
    b"9" * 5000,
    b"[" * 5000,
    b'{"a":' * 2000,
    b"<html>",
    b"\x1f\x8b",
    b"\xe5EG\x01",
)
NAMES: Final = ("error", "access_token", "refresh_token", "expires_in", "scope", "task", "id", "ref", "labels", "0", "")
DEEP: Final[Any] = json.loads("[" * 100 + "]" * 100)
STRANGE: Final[tuple[Any, ...]] = (
    None,
    True,
    0,
    -1,
    10**400,
    1e308,
    float("inf"),
    float("nan"),
    "",
    "\0",
    "\ud800",
    "\u2028",
    "x" * 5000,
    "2026-01-01",
    "x",
    7200,
    1.5,
    1700000000000,
    "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+23:59",
    "-0",
    "invalid_grant",
    [],
    {},
    [[]],
    {"": {}},
    ["a", 1],
    {"__type__": "datetime", "__value__": "x"},
    {"__type__": "decimal", "__value__": "x"},
    DEEP,
)

Damage = tuple[str, int, int, bytes]
Bend = tuple[str, int, str, Any]
DAMAGES: Final = ("flip", "cut", "drop", "put", "replace", "repeat", "swap", "many")
BENDS: Final = ("replace", "drop", "put", "list", "object", "text", "rename")
SOME_PIECE: Final = (*PIECES, b"a", b"0", b"-", b"\x80", b" ")
MOST: Final = 3  # changes of one input


def damages(pieces: Callable[[], Sequence[bytes]] = lambda: SOME_PIECE) -> st.SearchStrategy[list[Damage]]:
    """A few changes of bytes; none as well. Made of one number: a million inputs of many draws would take days."""
    return SEEDS.map(lambda seed: _damages(Random(seed), pieces()))


def _damages(chance: Random, pieces: Sequence[bytes]) -> list[Damage]:
    def place() -> int:
        return chance.randrange(PLACES)

    return [
        (chance.choice(DAMAGES), place(), place(), chance.choice(pieces)) for _ in range(chance.randrange(MOST + 1))
    ]


def bends() -> st.SearchStrategy[list[Bend]]:
    """A few changes of members; none as well."""
    return SEEDS.map(lambda seed: _bends(Random(seed)))


def _bends(chance: Random) -> list[Bend]:
    return [
        (chance.choice(BENDS), chance.randrange(PLACES), chance.choice(NAMES), chance.choice(STRANGE))
        for _ in range(chance.randrange(MOST + 1))
    ]


def cuts() -> st.SearchStrategy[list[int]]:
    """Where an input is cut into pieces."""
    return SEEDS.map(lambda seed: _cuts(Random(seed)))


def _cuts(chance: Random) -> list[int]:
    return [chance.randrange(PLACES) for _ in range(chance.randrange(MOST + 1))]


def damaged(raw: bytes, changes: list[Damage]) -> bytes:
    """Bytes with those changes, one after the other; a place is taken as a part of the whole."""
    for kind, first, second, piece in changes:
        start, end = sorted((first * len(raw) // PLACES, second * len(raw) // PLACES))
        raw = _damaged(raw, kind, start, end, piece)
    return raw


def _damaged(raw: bytes, kind: str, start: int, end: int, piece: bytes) -> bytes:  # noqa: PLR0911  # one a kind
    before, span, after = raw[:start], raw[start:end], raw[end:]
    match kind:
        case "flip":
            return before + bytes(each ^ (1 << start % 8) for each in raw[start : start + 1]) + raw[start + 1 :]
        case "cut":
            return before
        case "drop":
            return before + after
        case "put":
            return before + piece + raw[start:]
        case "replace":
            return before + piece + after
        case "repeat":
            return before + span * 3 + after
        case "swap":
            return span + before + after
        case _:
            return before + piece * (1 + end % 9) + after


def bent(document: Any, changes: list[Bend]) -> Any:
    """A copy of a document with those changes, one after the other."""
    holder: list[Any] = [json.loads(json.dumps(document))]
    for kind, place, name, value in changes:
        spots = list(_spots(holder))
        where, key = spots[place * len(spots) // PLACES]
        _bend(where, key, kind, name, deepcopy(value))
    return holder[0] if holder else None


def _spots(value: Any, levels: int = 12) -> Any:
    """Every member of a document, as who holds it and by which key."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in list(members):
        yield value, key
        if levels:
            yield from _spots(member, levels - 1)


def _bend(where: Any, key: Any, kind: str, name: str, value: Any) -> None:
    match kind:
        case "drop":
            where[key] = None
        case "put" if isinstance(where[key], dict):
            where[key] = {**where[key], name: value}
        case "list":
            where[key] = [where[key], where[key]]
        case "object":
            where[key] = {name: where[key]}
        case "text":
            where[key] = json.dumps(where[key])
        case "rename" if isinstance(where, dict):
            where[name] = where.pop(key)
        case _:
            where[key] = value
