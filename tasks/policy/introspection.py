"""Introspection: what a server says of a token that it was asked about (RFC 7662 §2.2).

`active` false may be said of a dead token, of another client's, and of one whose kind the server does not look at: it
is never a verdict by itself.
"""

import json
from http import HTTPStatus
from typing import Any, Final

from tasks.oauth.provider import Provider
from tasks.oauth.rules import Asked, Means
from tasks.oauth.transport import Answer, HeldBack, Response
from tasks.oauth.words import spoken
from tasks.policy.outcome import Finding

BY_RULE: Final = {Means.DEAD: Finding.DEAD, Means.SCOPE: Finding.ALIVE, Means.OURS: Finding.MISCONFIGURED}
REFUSALS: Final = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


def introspected(answer: Answer, provider: Provider) -> Finding:
    """Read the answer to an introspection, by the provider's rules where it does not say that the token is active."""
    told = _by_the_standard(answer)
    if told is Finding.ALIVE or not isinstance(answer, Response):
        return told
    rule = spoken(provider.answers, Asked.INTROSPECT, status=answer.status, body=answer.body)
    return told if rule is None else BY_RULE.get(rule.rule.means, Finding.UNCLEAR)


def _by_the_standard(answer: Answer) -> Finding:
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
