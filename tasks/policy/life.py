"""What an answer tells of a token's life: a probe's (a refresh with a never-granted scope), and a look's at the API."""

from enum import Enum, StrEnum
from http import HTTPStatus
from typing import Final, assert_never

from tasks.oauth.answer import SUCCESS, Answer, HeldBack, NotSent, Response
from tasks.oauth.answer_text import text_of
from tasks.oauth.error_answers import ErrorAnswer
from tasks.oauth.provider import Provider
from tasks.oauth.rules import Asked, Means
from tasks.oauth.token_answer import read_token_answer
from tasks.oauth.words import spoken
from tasks.policy.outcome import (
    ABOUT_THE_TOKEN,
    GrantThrottled,
    NotNow,
    NotUnderstood,
    Outcome,
    Race,
    Refreshed,
    Refused,
    Unknown,
    is_own_word,
)


class Life(Enum):
    """What a look at a token told."""

    ALIVE = "alive"
    DEAD = "dead"
    UNTOLD = "untold"  # the answer says nothing about the token


class Finding(StrEnum):
    """What a probe found: a refresh with a never-granted scope, where the provider file allows it."""

    ALIVE = "alive"  # the scope was refused, so everything before it was right
    DEAD = "dead"  # dead, or another client's
    REFRESHED = "refreshed"  # the provider took it for a refresh; the token set is to be stored
    # Our credentials were refused. A server that authenticates the client first has not looked at the token; Doorkeeper
    # looks at the token first and says `invalid_client` of a living one only (of a dead one `invalid_grant`).
    MISCONFIGURED = "misconfigured"
    UNCLEAR = "unclear"  # no answer that says anything
    BUSY = "busy"  # not active, under way, or held back: nothing was sent

    @property
    def life(self) -> Life:
        """What it tells of the token."""
        return _LIVES.get(self, Life.UNTOLD)


# A refused scope is refused of a token that lives.
_LIVES_BY_RULE: Final = {Means.DEAD: Life.DEAD, Means.SCOPE: Life.ALIVE}
_LIVES: Final = {Finding.ALIVE: Life.ALIVE, Finding.DEAD: Life.DEAD, Finding.REFRESHED: Life.ALIVE}


def probed(answer: Answer, end: Outcome) -> Finding:  # noqa: PLR0911  # one a row of the table
    """Read the answer to a probe.

    Life and death are the token endpoint's own words (RFC 6749 §5.2): what a gateway says, or a page, is of nobody's
    token. A 2xx without a token set tells nothing either, and may have consumed the token all the same.

    Args:
        answer: what the transport brought back.
        end: what `outcome` makes of it under credentials that are taken for proven.

    """
    match end:
        case Refreshed():
            return Finding.REFRESHED
        case Refused():
            return Finding.DEAD
        case HeldBack():
            return Finding.BUSY
        case NotUnderstood(means=Means.SCOPE):
            return Finding.ALIVE
        case NotUnderstood(means=Means.OURS):
            return Finding.MISCONFIGURED
        case NotUnderstood(code="invalid_scope") if is_own_word(answer):
            return Finding.ALIVE
        case NotUnderstood(code=code, unknown=False) if code not in ABOUT_THE_TOKEN:
            return Finding.MISCONFIGURED
        case NotSent() | NotNow() | NotUnderstood() | GrantThrottled() | Race() | Unknown():
            return Finding.UNCLEAR
        case _:
            assert_never(end)


def presented(answer: Answer, provider: Provider) -> Life:
    """Read what the API says to an access token (RFC 6750 §3.1), by the provider's rules first.

    A page, or an error inside a success, comes from a machine in between: the API has not seen the token.
    """
    if isinstance(answer, Response):
        rule = spoken(provider.answers, Asked.API, status=answer.status, body=answer.body)
        if rule is not None:
            return _LIVES_BY_RULE.get(rule.rule.means, Life.UNTOLD)
    match answer:
        case Response(status=HTTPStatus.UNAUTHORIZED):
            return Life.DEAD
        case Response(is_encoded=True):
            return Life.UNTOLD
        case Response(status=status, body=body) if status in SUCCESS:
            is_marked_up = text_of(body).lstrip().startswith("<")
            return Life.UNTOLD if is_marked_up or isinstance(read_token_answer(body), ErrorAnswer) else Life.ALIVE
        case _:
            return Life.UNTOLD


def may_be_asked_again(answer: Answer, provider: Provider) -> bool:
    """Whether a rule says of a look at the API that another one, later, may tell more."""
    if not isinstance(answer, Response):
        return False
    rule = spoken(provider.answers, Asked.API, status=answer.status, body=answer.body)
    return rule is not None and rule.rule.means in (Means.THROTTLED, Means.ILL, Means.RACE)
