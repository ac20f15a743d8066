"""What an answer means (a frozen value each), by the table of docs/reference/outcomes.md.

Refreshed      200 with a token set
HeldBack       a guard of ours said no: nothing was tried
NotSent        it provably was not sent: retry freely
NotNow         429, 503: the client's valve shuts at once; after a 503 we also cannot know
Refused        400 invalid_grant: one of these proves little
NotUnderstood  any other refusal: a 4xx, an error inside a 2xx, or invalid_grant while nothing ever succeeded under
               these credentials. Whose fault it is, a witness tells (tasks/policy/refusal.py)
Unknown        we cannot know whether the provider acted: never a verdict
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum, StrEnum
from http import HTTPStatus
from typing import Final, assert_never

from tasks.oauth.messages import ErrorAnswer, TokenSet, read_token_answer
from tasks.oauth.transport import SUCCESS, Answer, HeldBack, NotSent, RequestEnd, Response, Silence

RETRY_AFTER: Final = "Retry-After"
ABOUT_THE_TOKEN: Final = ("invalid_grant", "invalid_scope")  # and not about us, whoever says it
RETRY_AFTER_CAP: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Refreshed(RequestEnd):
    """The provider issued a token set."""

    code: str = "refreshed"
    http_status: int | None = HTTPStatus.OK
    token_set: TokenSet = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class NotNow(RequestEnd):
    """The provider asks the whole client to wait."""


@dataclass(frozen=True, slots=True)
class Refused(RequestEnd):
    """The provider says that the refresh token is invalid (RFC 6749 §5.2)."""

    code: str = "invalid_grant"
    http_status: int | None = HTTPStatus.BAD_REQUEST


@dataclass(frozen=True, slots=True)
class NotUnderstood(RequestEnd):
    """The provider refuses, in words of its own: this grant, or all of us.

    `unknown`: it came as a success, so a machine in between may have written it after the provider had acted.
    """


@dataclass(frozen=True, slots=True)
class Unknown(RequestEnd):
    """The request may have been carried out, or not."""

    unknown: bool = True


@dataclass(frozen=True, slots=True)
class Accepted(RequestEnd):
    """The revocation endpoint took the token (RFC 7009 §2.2); that proves nothing yet."""

    code: str = "accepted"
    http_status: int | None = HTTPStatus.OK


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


_LIVES: Final = {Finding.ALIVE: Life.ALIVE, Finding.DEAD: Life.DEAD, Finding.REFRESHED: Life.ALIVE}

Outcome = Refreshed | HeldBack | NotSent | NotNow | Refused | NotUnderstood | Unknown
"""Closed: whoever reads one names them all and ends in `assert_never`, so the type checker lists every place."""


def outcome(  # noqa: PLR0911  # one a row of the table
    answer: Answer, *, proven: bool, wall_clock: datetime, retry_after_header: str = RETRY_AFTER
) -> Outcome:
    """Read an answer of the token endpoint.

    Args:
        answer: what the transport brought back.
        proven: whether anything ever succeeded under the present credentials.
        wall_clock: for a Retry-After that is a date, where the answer itself has no Date.
        retry_after_header: as the provider file calls it.

    """
    match answer:
        case NotSent() | HeldBack():
            return answer
        case Silence(status=HTTPStatus.TOO_MANY_REQUESTS | HTTPStatus.SERVICE_UNAVAILABLE as status):
            wait = retry_after(answer.headers, wall_clock, header=retry_after_header)
            return NotNow(f"http_{status:d}", int(status), wait, unknown=True)
        case Silence(code=code, status=status):
            return Unknown(code, status)
        case Response(may_hold_tokens=True):
            return _success(answer)
        case Response(status=HTTPStatus.TOO_MANY_REQUESTS | HTTPStatus.SERVICE_UNAVAILABLE as status):
            unknown = status == HTTPStatus.SERVICE_UNAVAILABLE
            wait = retry_after(answer.headers, wall_clock, header=retry_after_header)
            return NotNow(f"http_{status:d}", int(status), wait, unknown)
        case Response(status=HTTPStatus.REQUEST_TIMEOUT):  # by a gateway that waits no longer, or of an idle connection
            return Unknown("http_408", int(HTTPStatus.REQUEST_TIMEOUT))
        case Response(status=status) if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return _client_error(answer, proven=proven)
        case Response(status=status):
            return Unknown(f"http_{status}", status)


def revocation_outcome(
    answer: Answer,
    *,
    wall_clock: datetime,
    retry_after_header: str = RETRY_AFTER,
    already_gone: frozenset[int] = frozenset(),
) -> Accepted | Outcome:
    """Read an answer of the revocation endpoint: 403 means the wrong client, 503 that the token still exists.

    `already_gone`: the statuses by which this provider says that there is nothing left to revoke.
    """
    if isinstance(answer, Response) and (answer.status in SUCCESS or answer.status in already_gone):
        return Accepted(http_status=answer.status)
    told = outcome(answer, proven=False, wall_clock=wall_clock, retry_after_header=retry_after_header)
    return NotUnderstood(told.code, told.http_status or 0) if isinstance(told, Refused) else told


def probed(answer: Answer, end: Outcome) -> Finding:
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
        case NotUnderstood(code="invalid_scope") if _is_own_word(answer):
            return Finding.ALIVE
        case NotUnderstood(code=code, unknown=False) if code not in ABOUT_THE_TOKEN:
            return Finding.MISCONFIGURED
        case NotSent() | NotNow() | NotUnderstood() | Unknown():
            return Finding.UNCLEAR
        case _:
            assert_never(end)


def presented(answer: Answer) -> Life:
    """Read what the API says to an access token (RFC 6750 §3.1).

    A page, or an error inside a success, comes from a machine in between: the API has not seen the token.
    """
    match answer:
        case Response(status=HTTPStatus.UNAUTHORIZED):
            return Life.DEAD
        case Response(status=status, body=body) if status in SUCCESS:
            is_page = body.lstrip().startswith(b"<")
            return Life.UNTOLD if is_page or isinstance(read_token_answer(body), ErrorAnswer) else Life.ALIVE
        case _:
            return Life.UNTOLD


def _success(response: Response) -> Outcome:
    match read_token_answer(response.body):
        case TokenSet() as token_set:
            return Refreshed(token_set=token_set, http_status=response.status)
        case ErrorAnswer(code=code):
            return NotUnderstood(code, response.status, unknown=True)
        case _:
            return Unknown("unreadable", response.status)


def _client_error(response: Response, *, proven: bool) -> Outcome:
    match read_token_answer(response.body):
        case ErrorAnswer(code="invalid_grant") if _is_own_word(response):
            return Refused() if proven else NotUnderstood("invalid_grant_unproven", response.status)
        case ErrorAnswer(code=code):
            return NotUnderstood(code, response.status)
        case _:
            return NotUnderstood(f"http_{response.status}", response.status)


def _is_own_word(answer: Answer) -> bool:
    """Whether an error is told as the token endpoint tells one."""
    return isinstance(answer, Response) and answer.status == HTTPStatus.BAD_REQUEST and _is_json(answer.body)


def _is_json(body: bytes) -> bool:
    """Whether the token endpoint itself speaks (RFC 6749 §5.2), and no page with a link that looks like a form."""
    text = body.decode(json.detect_encoding(body), errors="replace").removeprefix("\ufeff")
    try:
        return isinstance(json.loads(text, strict=False, parse_int=float), dict)
    except (ValueError, RecursionError):
        return False


def retry_after(headers: Mapping[str, str], wall_clock: datetime, *, header: str = RETRY_AFTER) -> timedelta | None:
    """Read Retry-After (RFC 9110 §10.2.3), seconds or a date, between nothing and five minutes."""
    value = headers.get(header.lower(), "").strip()
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return min(timedelta(seconds=min(int(value[:9]), 10**6)), RETRY_AFTER_CAP)
    until = _date(value)
    if until is None:
        return None
    answered = _date(headers.get("date", "")) or wall_clock
    return min(max(until - answered, timedelta(0)), RETRY_AFTER_CAP)


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, IndexError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
