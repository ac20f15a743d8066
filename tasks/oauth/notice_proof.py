"""The proof of a notice: whether it comes from the provider, and whose grants it is about. Pure.

Whoever hears a notice (the web process) holds no client secret: it keeps what came, sealed, and a worker proves it.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final, Self
from urllib.parse import parse_qsl

from tasks.oauth.notices import Notice, NoticeAuth

AUTHORIZATION: Final = "Authorization"
REF: Final = "ref"  # of what a notice matches: not a label, but the ref itself
MOST_MEMBERS: Final = 200


@dataclass(frozen=True, slots=True)
class Came:
    """A notice as it came; `proof` is the one header that its rule asks for, by its name in lower case."""

    method: str
    proof: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def written(self) -> str:
        """As text, to be sealed."""
        body = base64.b64encode(self.body).decode()
        return json.dumps({"method": self.method, "proof": dict(self.proof), "body": body})

    @classmethod
    def read(cls, text: str) -> Self:
        """What `written` wrote."""
        members = json.loads(text)
        return cls(members["method"], members["proof"], base64.b64decode(members["body"]))


@dataclass(frozen=True, slots=True)
class About:
    """Whose grants a notice is about: a ref, or labels, or both."""

    ref: str | None
    labels: dict[str, list[str]]


def header_of(rule: Notice) -> str:
    """The header that holds the proof."""
    return rule.signature_header or AUTHORIZATION


def is_proven(rule: Notice, came: Came, *, client_id: str, client_secret: str) -> bool:
    """Whether only somebody who holds the client's secret can have sent it; compared in constant time."""
    told = came.proof.get(header_of(rule).lower(), "").strip()
    if not told or not client_secret:
        return False
    match rule.auth:
        case NoticeAuth.BASIC:
            return _same(_basic(told), f"{client_id}:{client_secret}".encode())
        case NoticeAuth.SECRET_HEADER:
            # Bytes of a header that are no text arrive as halves of surrogate pairs.
            return _same(told.encode(errors="replace"), client_secret.encode())
        case NoticeAuth.HMAC_SHA256:
            expected = hmac.new(client_secret.encode(), came.body, hashlib.sha256).digest()
            return any(_same(each, expected) for each in _digests(told.removeprefix("sha256=")))


def about(rule: Notice, came: Came) -> About | None:
    """Whose grants it is about; None: it is none of those that count, or does not say whose."""
    members = _members(came.body)
    if not all(fnmatchcase(_text(_at(members, path)) or "", pattern) for path, pattern in rule.where.items()):
        return None
    found = {label: _text(_at(members, path)) for label, path in rule.matches.items()}
    values = {label: value for label, value in found.items() if value}
    if len(values) < len(found):
        return None
    ref = values.pop(REF, None)
    return About(ref, {label: [value] for label, value in values.items()})


def _same(one: bytes, other: bytes) -> bool:
    return hmac.compare_digest(one, other)


def _basic(told: str) -> bytes:
    scheme, _, text = told.partition(" ")
    try:
        return base64.b64decode(text.strip(), validate=True) if scheme.lower() == "basic" else b""
    except (ValueError, binascii.Error):
        return b""


def _digests(told: str) -> list[bytes]:
    """A signature as bytes, read as hex and as base64."""
    found = []
    for read in (bytes.fromhex, lambda text: base64.b64decode(text, validate=True)):
        try:
            found.append(read(told))
        except (ValueError, binascii.Error):
            continue
    return found


def _members(body: bytes) -> Any:
    """What the body holds, JSON or a form; nothing where it is neither."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        pass
    try:
        return dict(parse_qsl(body.decode(), max_num_fields=MOST_MEMBERS))
    except ValueError:
        return {}


def _at(members: Any, path: str) -> Any:
    for part in filter(None, path.split(".")):
        match members:
            case dict():
                members = members.get(part)
            case list() if part.isdecimal() and int(part) < len(members):
                members = members[int(part)]
            case _:
                return None
    return members


def _text(value: Any) -> str | None:
    """A text or a number as a label holds it; anything else says nothing."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)
    return text if text.isprintable() else None
