"""Introspection: what a server says of a token that it was asked about (RFC 7662 §2.2).

`active` false may be said of a dead token, of another client's, and of one whose kind the server does not look at: it
is never a verdict by itself.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

from tasks.oauth.answer import Answer, HeldBack, Response
from tasks.oauth.provider import Provider
from tasks.oauth.rules import Asked, Means
from tasks.oauth.shapes import LifeFrom
from tasks.oauth.token_answer import SECONDS, TokenSet
from tasks.oauth.words import spoken
from tasks.policy import timing
from tasks.policy.life import Finding

BY_RULE: Final = {Means.DEAD: Finding.DEAD, Means.SCOPE: Finding.ALIVE, Means.OURS: Finding.MISCONFIGURED}
REFUSALS: Final = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


@dataclass(frozen=True, slots=True)
class Untold:
    """An introspection did not tell how long a token lives; `why` in one word."""

    why: str


def asks_for_life(provider: Provider, token_set: TokenSet) -> bool:
    """Whether only an introspection tells how long what was just received lives."""
    told = token_set.expires_in is not None or token_set.ends.expires_at is not None
    return provider.life_from is LifeFrom.INTROSPECTION and not told


def introspected_life(answer: Answer, *, started_at: datetime, at: datetime) -> timedelta | Untold:
    """How long an access token lives from the start of its request, by its `exp` (RFC 7662 §2.2).

    `at`: now. What is no end to come, in seconds since 1970, tells nothing: text, milliseconds, the past.
    """
    if not isinstance(answer, Response):
        return Untold(answer.code)
    if answer.status != HTTPStatus.OK:
        return Untold(f"http_{answer.status}")
    found = _members(answer.body)
    if found.get("active") is not True:
        return Untold("inactive" if found.get("active") is False else "unreadable")
    exp = found.get("exp")
    if isinstance(exp, bool) or not isinstance(exp, int | float):
        return Untold("no_exp" if exp is None else "strange_exp")
    if not SECONDS[0] <= exp < SECONDS[1] or (end := datetime.fromtimestamp(exp, UTC)) <= at:
        return Untold("strange_exp")
    return timing.life((end - started_at).total_seconds(), default=timing.LEAST_LIFE)


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
    active = _members(body).get("active")
    return active if isinstance(active, bool) else None


def _members(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
