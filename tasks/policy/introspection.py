"""Introspection: what a server says of a token that it was asked about (RFC 7662 §2.2).

`active` false may be said of a dead token, of another client's, and of one whose kind the server does not look at: it
is never a verdict by itself.
"""

import json
from http import HTTPStatus
from typing import Any, Final

from tasks.oauth.transport import Answer, HeldBack, Response
from tasks.policy.outcome import Finding

REFUSALS: Final = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


def introspected(answer: Answer) -> Finding:
    """Read the answer to an introspection; `life` of what is found tells of the token."""
    match answer:
        case HeldBack():
            return Finding.BUSY
        case Response(status=HTTPStatus.OK, body=body):
            return {True: Finding.ALIVE, False: Finding.DEAD}.get(_active(body), Finding.UNCLEAR)
        case Response(status=status) if status in REFUSALS:
            return Finding.MISCONFIGURED
        case _:
            return Finding.UNCLEAR


def _active(body: bytes) -> Any:
    """What stands there where it is true or false; None: neither, so that a word or a number is nothing."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    active = found.get("active") if isinstance(found, dict) else None
    return active if isinstance(active, bool) else None
