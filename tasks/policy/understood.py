"""Understood: in one word, how an answer is read by a provider's file, for whoever writes one.

Under credentials that are taken for proven, as those of a client are once anything has succeeded.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, assert_never

from tasks.oauth.answer import SUCCESS, HeldBack, NotSent, Response
from tasks.oauth.provider import Provider
from tasks.oauth.rules import Asked, Means
from tasks.oauth.words import spoken
from tasks.policy.life import Life, presented
from tasks.policy.outcome import (
    Accepted,
    GrantThrottled,
    NotNow,
    NotUnderstood,
    Outcome,
    Race,
    Refreshed,
    Refused,
    Unknown,
    outcome,
    raw_code,
    revocation_outcome,
)

TOKEN_SET: Final = "token_set"  # noqa: S105  # what was issued
ACCEPTED: Final = "accepted"
ALIVE: Final = "alive"
NOT_UNDERSTOOD: Final = "not_understood"
WORDS: Final = (*map(str, Means), TOKEN_SET, ACCEPTED, ALIVE, NOT_UNDERSTOOD)


@dataclass(frozen=True, slots=True)
class Understood:
    """How an answer is read: `means` is one of WORDS, `code` the provider's own word, `rule` the one that spoke."""

    means: str
    code: str
    rule: str | None

    @property
    def by(self) -> str:
        """Who says so: a rule by its number, the table of RFC 6749, or nobody."""
        if self.rule is not None:
            return f"rule {self.rule.partition(':')[0]}"
        return "nobody" if self.means == NOT_UNDERSTOOD else "the table"


def understood(response: Response, to: Asked, *, provider: Provider, wall_clock: datetime) -> Understood:
    """Read an answer as the service does."""
    match to:
        case Asked.REFRESH | Asked.CODE:
            end = outcome(response, provider=provider, proven=True, wall_clock=wall_clock, hide=(), to=to)
            return Understood(_word_of(end), end.code, end.rule)
        case Asked.REVOKE:
            revoked = revocation_outcome(response, provider=provider, wall_clock=wall_clock, hide=())
            word = ACCEPTED if isinstance(revoked, Accepted) else _word_of(revoked)
            return Understood(_by_rule(revoked.rule) or word, revoked.code, revoked.rule)
        case Asked.API:
            rule = spoken(provider.answers, to, status=response.status, body=response.body)
            word = _LIVES[presented(response, provider)]
            told = None if rule is None else rule.told
            return Understood(_by_rule(told) or word, raw_code(response, ()), told)
        case Asked.INTROSPECT:
            rule = spoken(provider.answers, to, status=response.status, body=response.body)
            told = None if rule is None else rule.told
            word = ACCEPTED if response.status in SUCCESS else NOT_UNDERSTOOD
            return Understood(_by_rule(told) or word, raw_code(response, ()), told)
        case _:
            assert_never(to)


_LIVES: Final = {Life.ALIVE: ALIVE, Life.DEAD: str(Means.DEAD), Life.UNTOLD: NOT_UNDERSTOOD}


def _by_rule(told: str | None) -> str | None:
    """The meaning that a rule is told with."""
    return None if told is None else told.partition(": ")[2].partition(",")[0]


def _word_of(end: Outcome) -> str:  # noqa: PLR0911  # one a kind
    match end:
        case Refreshed():
            return TOKEN_SET
        case Refused(means=means):
            return means or Means.DEAD
        case NotUnderstood(means=means):
            return means or NOT_UNDERSTOOD
        case NotNow() | GrantThrottled():
            return Means.THROTTLED
        case Race():
            return Means.RACE
        case Unknown(code="unreadable"):
            return NOT_UNDERSTOOD
        case Unknown() | NotSent() | HeldBack():
            return Means.ILL
        case _:
            assert_never(end)
