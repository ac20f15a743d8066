"""Cookies of the public listener: which browser stands there, told by a secret that only it has.

`__Host-` keeps other hosts of the same domain from setting one (RFC 6265bis §4.1.3.2), Lax sends it along when the
provider sends the browser back, and to no form that stands on another site.
"""

import hashlib
import hmac
import re
import secrets
from datetime import timedelta
from typing import Final
from uuid import UUID

from aiohttp import web

PREFIX: Final = "__Host-evergrant-"
LIVES: Final = timedelta(hours=1)  # longer than any visit, so that its end can be looked at again
VALUE: Final = re.compile(r"[A-Za-z0-9_-]{43}")


def name_of(ticket_id: UUID) -> str:
    """The cookie of one ticket: several may be under way in one browser."""
    return PREFIX + ticket_id.hex[:16]


def of(request: web.Request, ticket_id: UUID) -> str | None:
    """What a browser holds for this ticket."""
    value = request.cookies.get(name_of(ticket_id), "")
    return value if VALUE.fullmatch(value) else None


def new() -> str:
    """A secret for a browser."""
    return secrets.token_urlsafe(32)


def keep(response: web.StreamResponse, ticket_id: UUID, value: str) -> None:
    """Let the browser keep it."""
    response.set_cookie(
        name_of(ticket_id),
        value,
        path="/",
        max_age=int(LIVES.total_seconds()),
        secure=True,
        httponly=True,
        samesite="Lax",
    )


def proof(value: str) -> str:
    """What a form of ours holds, so that none of another page can be sent here in its place."""
    return hashlib.sha256(b"form " + value.encode()).hexdigest()


def proves(given: object, value: str) -> bool:
    """Whether a form was ours, shown to this browser."""
    return isinstance(given, str) and hmac.compare_digest(given.encode("utf-8", "replace"), proof(value).encode())
