"""Lines of an import file, read one by one: each is a grant, or names what is wrong with it.

A reason never repeats a value: it may be a token.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO
from uuid import uuid4

from tasks.oauth.shapes import Kind
from tasks.oauth.token_answer import is_token
from tasks.policy.kinds import placeholder
from worker.cli.arguments import LARGEST_LABEL, LARGEST_VALUE, ref_fault

LONGEST_LINE = 1024 * 1024
MOST_LABELS = 100
LONGEST_SCOPE = 4000
LONGEST_NAME = 40
# `token_type` stands in every answer of a token endpoint, which a line often is.
READ = frozenset(
    {
        *("ref", "refresh_token", "access_token", "token_type", "scope", "expires_at", "expires_in", "created_at"),
        *("labels", "refresh_expires_at", "consent_expires_at", "in_doubt"),
    }
)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
MOST_SECONDS = timedelta(days=100 * 366).total_seconds()


@dataclass(frozen=True, slots=True)
class Offered:
    """One grant as a line offers it."""

    line: int
    ref: str
    refresh_token: str = field(repr=False)
    access_token: str | None = field(repr=False, default=None)
    scope: str | None = None
    expires_at: datetime | None = None
    life: timedelta | None = None
    labels: dict[str, list[str]] = field(default_factory=dict)
    refresh_expires_at: datetime | None = None
    consent_expires_at: datetime | None = None
    in_doubt: bool = False  # pairs of it may live that this line does not hold
    unread: tuple[str, ...] = ()  # members that mean nothing here


@dataclass(frozen=True, slots=True)
class Bad:
    """A line that cannot be used, and why."""

    line: int
    reason: str
    ref: str | None = None


class BadLine(Exception):
    """A line cannot be used; the message is the reason."""

    def __init__(self, *, reason: str) -> None:
        super().__init__(reason)


def lines(source: BinaryIO, kind: Kind = Kind.CODE) -> Iterator[tuple[int, int, Offered | Bad]]:
    """Read a file line by line: number, bytes read so far, and what the line holds; blank lines are passed over.

    `kind`: of the client that they are for. Never more than `LONGEST_LINE` bytes are held, however long a line is.
    """
    number = read = 0
    while raw := source.readline(LONGEST_LINE + 1):
        number += 1
        read += len(raw)
        if len(raw) > LONGEST_LINE:
            read += _skip_rest(source, raw)
            yield number, read, Bad(number, "the line is longer than 1 MiB")
        elif raw.strip():
            yield number, read, read_line(number, raw, kind)


def _skip_rest(source: BinaryIO, piece: bytes) -> int:
    skipped = 0
    while piece and not piece.endswith(b"\n"):
        piece = source.readline(LONGEST_LINE)
        skipped += len(piece)
    return skipped


def read_line(number: int, raw: bytes, kind: Kind = Kind.CODE) -> Offered | Bad:
    """Read one line; whatever it holds, a value comes back."""
    ref: str | None = None
    try:
        members = _members(raw)
        ref = _ref(members.get("ref"))
        return _offered(number, ref, members, kind)
    except BadLine as error:
        return Bad(number, str(error), ref)


def _members(raw: bytes) -> dict[str, Any]:
    if b"\x00" in raw:
        raise BadLine(reason="it holds a NUL byte")
    try:
        found = json.loads(raw)
    except UnicodeDecodeError:
        raise BadLine(reason="it is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise BadLine(reason=f"it is not JSON: {error.msg} at column {error.colno}") from None
    except (ValueError, RecursionError):
        raise BadLine(reason="it is not JSON that can be read") from None
    if not isinstance(found, dict):
        raise BadLine(reason="it is not a JSON object")
    return found


def _offered(number: int, ref: str, members: dict[str, Any], kind: Kind) -> Offered:
    expires_at, life = _expiry(members)
    access_token = _token(members, "access_token", needed=kind is Kind.EXCHANGE)
    return Offered(
        line=number,
        ref=ref,
        refresh_token=_renewed_by(members, access_token, kind),
        access_token=access_token,
        scope=_scope(members.get("scope")),
        expires_at=expires_at,
        life=life,
        labels=_labels(members.get("labels")),
        refresh_expires_at=_end(members, "refresh_expires_at"),
        consent_expires_at=_end(members, "consent_expires_at"),
        in_doubt=members.get("in_doubt") is True,
        unread=() if members.keys() <= READ else tuple(_name(each) for each in members if each not in READ),
    )


def _name(member: str) -> str:
    """A member's name as it may be told: of what somebody has put there by mistake no more than the beginning."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in member[:LONGEST_NAME])


def _renewed_by(members: dict[str, Any], access_token: str | None, kind: Kind) -> str:
    """The token that renews it; what a line of a grant without a user calls so is none."""
    match kind:
        case Kind.CODE:
            return _token(members, "refresh_token", needed=True) or ""
        case Kind.CLIENT_CREDENTIALS:
            return placeholder(uuid4())
        case Kind.EXCHANGE:
            return access_token or ""


def _ref(value: Any) -> str:
    if value is None:
        raise BadLine(reason="ref is missing")
    if not isinstance(value, str):
        raise BadLine(reason="ref is not a text")
    fault = ref_fault(value)
    if fault:
        raise BadLine(reason=fault)
    return value


def _token(members: dict[str, Any], name: str, *, needed: bool) -> str | None:
    value = members.get(name)
    if value in (None, ""):
        if needed:
            raise BadLine(reason=f"{name} is missing")
        return None
    if not is_token(value):
        raise BadLine(reason=f"{name} is not a text of visible ASCII characters")
    return value


def _scope(value: Any) -> str | None:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = " ".join(value)
    if value in (None, ""):
        return None
    if not isinstance(value, str) or not value.isprintable() or len(value) > LONGEST_SCOPE:
        raise BadLine(reason="scope is not a text of at most 4000 printable characters")
    return value


def _expiry(members: dict[str, Any]) -> tuple[datetime | None, timedelta | None]:
    """When the access token expires, and its whole life where the line tells it."""
    expires_in = _seconds(members, "expires_in")
    if members.get("expires_at") is not None:
        life = None if expires_in is None else timedelta(seconds=expires_in)
        return _instant(members, "expires_at"), life
    if expires_in is None:
        return None, None
    if members.get("created_at") is None:
        raise BadLine(reason="expires_in is of no use without created_at")
    life = timedelta(seconds=expires_in)
    return _instant(members, "created_at") + life, life


def _end(members: dict[str, Any], name: str) -> datetime | None:
    return None if members.get(name) is None else _instant(members, name)


def _seconds(members: dict[str, Any], name: str) -> float | None:
    value = members.get(name)
    if value is None:
        return None
    if not _is_number(value):
        raise BadLine(reason=f"{name} is not a number of seconds")
    if value < 0:
        raise BadLine(reason=f"{name} is negative")
    if value > MOST_SECONDS:
        raise BadLine(reason=f"{name} is more than a hundred years")
    return float(value)


def _is_number(value: Any) -> bool:
    """Whether JSON's number is a finite one; a whole number may have any length, which a float cannot hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or math.isfinite(value)


def _instant(members: dict[str, Any], name: str) -> datetime:
    """A time as ISO 8601 (without an offset: UTC) or as Unix seconds."""
    value = members[name]
    try:
        if isinstance(value, str):
            found = datetime.fromisoformat(value)
            found = found if found.tzinfo else found.replace(tzinfo=UTC)
        else:
            found = _of_unix_seconds(members, name)
        found = found.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise BadLine(reason=f"{name} is neither ISO 8601 nor Unix seconds") from None
    if found >= LATEST:
        raise BadLine(reason=f"{name} is after the year 2199")
    return found


def _of_unix_seconds(members: dict[str, Any], name: str) -> datetime:
    value = members[name]
    if not _is_number(value):
        raise ValueError
    if value < 0:
        raise BadLine(reason=f"{name} is negative")
    return datetime.fromtimestamp(value, UTC)


def _labels(value: Any) -> dict[str, list[str]]:
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > MOST_LABELS:
        raise BadLine(reason="labels is not an object of at most 100 members")
    found = {key: [item] if isinstance(item, str) else item for key, item in value.items()}
    for key, items in found.items():
        texts = isinstance(items, list) and all(isinstance(item, str) for item in items)
        if not _is_text(key, LARGEST_LABEL):
            raise BadLine(reason=f"labels holds a key that is no printable text of 1 to {LARGEST_LABEL} characters")
        if not texts or not all(_is_text(text, LARGEST_VALUE) for text in items):
            raise BadLine(reason=f"labels holds something that is no printable text of 1 to {LARGEST_VALUE} characters")
    return found


def _is_text(value: str, most: int) -> bool:
    return value.isprintable() and 0 < len(value) <= most
