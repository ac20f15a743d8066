"""What an answer means (a frozen value each), by the table of docs/reference/outcomes.md.

Refreshed      200 with a token set
HeldBack       a guard of ours said no: nothing was tried
NotSent        it provably was not sent: retry freely
NotNow         429, 503, another refusal that asks to wait: the client's valve shuts at once; after a 503, and inside
               a 2xx, we also cannot know
Refused        400 invalid_grant: one of these proves little
NotUnderstood  any other refusal: a 4xx, an error inside a 2xx, or invalid_grant while nothing ever succeeded under
               these credentials. Whose fault it is, a witness tells (tasks/policy/refusal.py)
GrantThrottled a rule says: too much was asked for this grant; it waits, and no other
Race           a rule says: somebody else is at it, and nothing was consumed; it is asked again soon
Unknown        we cannot know whether the provider acted: never a verdict

A token set is read before anything else. Then the rules of the provider's file are asked (tasks/oauth/words.py): one
that fits makes the answer one of these, in the provider's own word. Below them stands the table of RFC 6749.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final, assert_never

from tasks.oauth.answer import SUCCESS, Answer, HeldBack, NotSent, RequestEnd, Response, Silence
from tasks.oauth.answer_text import JSON, is_page, text_of
from tasks.oauth.echoes import Together
from tasks.oauth.error_answers import STANDARD, UNRECOGNISED, ErrorAnswer
from tasks.oauth.provider import Provider
from tasks.oauth.rules import Asked, LimitOf, Means, Reason
from tasks.oauth.token_answer import TokenSet, Unreadable, read_refusal, read_token_answer, told_scope
from tasks.oauth.words import Spoken, spoken
from tasks.policy.advice import UNPROVEN
from tasks.policy.limits import retry_after, word_of_limit

REFUSALS: Final = range(400, 500)  # statuses (RFC 9110 §15.5)
ABOUT_THE_TOKEN: Final = ("invalid_grant", "invalid_scope")  # and not about us, whoever says it
_HALF_THERE: Final = re.compile(r'"refresh_token\\?"')  # in JSON, also in JSON that is a JSON text
WORDS_OF_REFUSAL: Final = STANDARD - {"temporarily_unavailable", "server_error"}
UNREADABLE: Final = "unreadable"  # a success with neither a token set nor an error in it


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
    """The provider says that the refresh token is invalid (RFC 6749 §5.2), or a rule does: what it means, and why."""

    code: str = "invalid_grant"
    http_status: int | None = HTTPStatus.BAD_REQUEST
    means: Means | None = field(default=None, kw_only=True)
    reason: Reason | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class NotUnderstood(RequestEnd):
    """The provider refuses, in words of its own: this grant, or all of us.

    `unknown`: it came as a success, so a machine in between may have written it after the provider had acted. `means`:
    what a rule says all the same: that it is ours, or the scope; or that the token is dead, which is not believed
    while nothing has succeeded under these credentials.
    """

    means: Means | None = field(default=None, kw_only=True)

    @property
    def waits_for_proof(self) -> bool:
        """Whether it would be a refusal of the token under credentials that are known to be good."""
        return self.code.endswith(UNPROVEN)

    @property
    def says_nothing(self) -> bool:
        """Whether it came as a success, with neither a token set nor an error in it."""
        return self.unknown and self.code == UNREADABLE


@dataclass(frozen=True, slots=True)
class GrantThrottled(RequestEnd):
    """The provider asks to leave this grant alone for a while."""


@dataclass(frozen=True, slots=True)
class Race(RequestEnd):
    """Somebody else uses the token just now; nothing was consumed."""


@dataclass(frozen=True, slots=True)
class Unknown(RequestEnd):
    """The request may have been carried out, or not."""

    unknown: bool = True


@dataclass(frozen=True, slots=True)
class Accepted(RequestEnd):
    """The revocation endpoint took the token (RFC 7009 §2.2); that proves nothing yet."""

    code: str = "accepted"
    http_status: int | None = HTTPStatus.OK


Outcome = Refreshed | HeldBack | NotSent | NotNow | Refused | NotUnderstood | GrantThrottled | Race | Unknown
"""Closed: whoever reads one names them all and ends in `assert_never`, so the type checker lists every place."""


def outcome(
    answer: Answer,
    *,
    provider: Provider,
    proven: bool,
    wall_clock: datetime,
    hide: Iterable[str],
    to: Asked = Asked.REFRESH,
) -> Outcome:
    """Read an answer of the token endpoint.

    Args:
        answer: what the transport brought back.
        provider: whose words and headers these are.
        proven: whether anything ever succeeded under the present credentials.
        wall_clock: for a Retry-After that is a date, where the answer itself has no Date.
        hide: the secrets of the request, which no code repeats; looked at only where there is one.
        to: what was asked.

    """
    if isinstance(answer, Response):
        hide = Together(((answer.assertion,), hide))
        told = _success(answer, provider, hide, wall_clock) if answer.may_hold_tokens else None
        if isinstance(told, Refreshed):
            return told
        rule = spoken(provider.answers, to, status=answer.status, body=answer.body)
        if rule is not None:
            return _explained(rule, answer, provider=provider, proven=proven, wall_clock=wall_clock, hide=hide)
        if told is not None:
            return told
    return _by_the_table(answer, provider=provider, proven=proven, wall_clock=wall_clock, hide=hide)


def fit_to_keep(end: Outcome, sent: Iterable[str]) -> Outcome:
    """An outcome whose scope repeats no secret of the request: for those who store it as it is."""
    return replace(end, token_set=told_scope(end.token_set, sent)) if isinstance(end, Refreshed) else end


def _by_the_table(  # noqa: PLR0911  # one a row of the table
    answer: Answer, *, provider: Provider, proven: bool, wall_clock: datetime, hide: Iterable[str]
) -> Outcome:
    """Read an answer that holds no token set and fits no rule."""
    match answer:
        case NotSent() | HeldBack():
            return answer
        case Silence(status=HTTPStatus.TOO_MANY_REQUESTS | HTTPStatus.SERVICE_UNAVAILABLE as status):
            wait = _told_wait(answer, provider, wall_clock)
            return NotNow(f"http_{status:d}", int(status), wait, unknown=True)
        case Silence(code=code, status=status):
            return Unknown(code, status)
        case Response(status=HTTPStatus.TOO_MANY_REQUESTS | HTTPStatus.SERVICE_UNAVAILABLE as status):
            unknown = status == HTTPStatus.SERVICE_UNAVAILABLE
            wait = _told_wait(answer, provider, wall_clock)
            return NotNow(f"http_{status:d}", int(status), wait, unknown)
        case Response(status=HTTPStatus.REQUEST_TIMEOUT):  # by a gateway that waits no longer, or of an idle connection
            return Unknown("http_408", int(HTTPStatus.REQUEST_TIMEOUT))
        case Response(status=status) if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return _client_error(answer, provider=provider, proven=proven, wall_clock=wall_clock, hide=hide)
        case Response(status=status):
            return Unknown(f"http_{status}", status)


def _explained(  # noqa: PLR0911  # one a meaning
    rule: Spoken,
    response: Response,
    *,
    provider: Provider,
    proven: bool,
    wall_clock: datetime,
    hide: Iterable[str],
) -> Outcome:
    """What a rule makes of an answer: the provider's own word, so definite, but where it is said to be ill."""
    code, status, told = raw_code(response, hide), response.status, rule.told
    match rule.rule.means:
        case Means.DEAD | Means.CONSENT as means if proven:
            return Refused(code, status, means=means, reason=rule.rule.reason, rule=told)
        case Means.DEAD | Means.CONSENT as means:
            return NotUnderstood(code + UNPROVEN, status, means=means, rule=told)
        case Means.OURS | Means.SCOPE as means:
            return NotUnderstood(code, status, means=means, rule=told)
        case Means.THROTTLED:
            wait = _told_wait(response, provider, wall_clock)
            if rule.rule.scope_of_limit is not LimitOf.CLIENT:
                return GrantThrottled(code, status, wait, rule=told)
            # A router says 503, too, while the application completes: only the body is a word of the provider's own.
            unknown = not rule.rule.where and status not in REFUSALS
            return NotNow(code, status, wait, unknown, rule=told)
        case Means.ILL:
            return Unknown(code, status, rule=told)
        case Means.RACE:
            return Race(code, status, rule=told)
        case means:
            assert_never(means)


def raw_code(response: Response, hide: Iterable[str]) -> str:
    """The provider's own word, whatever its shape; else the status."""
    told = read_refusal(response.body, hide=hide)
    if told is None or (told.code == UNRECOGNISED and not told.standard):
        return f"http_{response.status}"
    return told.code


def revocation_outcome(
    answer: Answer,
    *,
    provider: Provider,
    wall_clock: datetime,
    hide: Iterable[str],
    already_gone: frozenset[int] = frozenset(),
) -> Accepted | Outcome:
    """Read an answer of the revocation endpoint: 403 means the wrong client, 503 that the token still exists.

    A success that tells an error, or is a page, has revoked nothing: to believe it would shred tokens that live.

    A rule that says that the token is dead says that it was so before: there is nothing to revoke (RFC 7009 §2.2).
    `already_gone`: the statuses by which this provider says the same.
    """
    if isinstance(answer, Response):
        hide = Together(((answer.assertion,), hide))
        rule = spoken(provider.answers, Asked.REVOKE, status=answer.status, body=answer.body)
        if rule is not None:
            end = _explained(rule, answer, provider=provider, proven=True, wall_clock=wall_clock, hide=hide)
            return Accepted(http_status=end.http_status, rule=end.rule) if isinstance(end, Refused) else end
        if answer.status in already_gone:
            return Accepted(http_status=answer.status)
        if answer.status in SUCCESS:
            return _taken(answer, provider, wall_clock, hide)
    told = _by_the_table(answer, provider=provider, proven=False, wall_clock=wall_clock, hide=hide)
    return NotUnderstood(told.code, told.http_status or 0) if isinstance(told, Refused) else told


def _taken(
    response: Response, provider: Provider, wall_clock: datetime, hide: Iterable[str]
) -> Accepted | NotNow | NotUnderstood:
    """Read a success, which may have no body (RFC 7009 §2.2), as the token endpoint's would be."""
    told = read_token_answer(response.body)
    if isinstance(told, ErrorAnswer):
        if word := word_of_limit(told.code, told.description):
            return NotNow(word, response.status, _told_wait(response, provider, wall_clock))
        return NotUnderstood(raw_code(response, hide), response.status)
    if is_page(text_of(response.body)):
        return NotUnderstood(UNREADABLE, response.status)
    return Accepted(http_status=response.status)


def _success(response: Response, provider: Provider, hide: Iterable[str], wall_clock: datetime) -> Outcome:
    paths, second = provider.token_set, provider.second_token_set
    match read_token_answer(response.body, paths=paths, second=second, hide=hide):
        case TokenSet() as token_set:
            return Refreshed(token_set=token_set, http_status=response.status)
        case ErrorAnswer(code=code, description=sentence) if word := word_of_limit(code, sentence):
            return NotNow(word, response.status, _told_wait(response, provider, wall_clock), unknown=True)
        case ErrorAnswer(code=code):
            return NotUnderstood(code, response.status, unknown=True)
        case Unreadable() if response.is_encoded:
            return Unknown(UNREADABLE, response.status)
        case Unreadable(reason=reason) if _is_whole(response.body, reason):
            return NotUnderstood(UNREADABLE, response.status, unknown=True)
        case _:
            return Unknown(UNREADABLE, response.status)


def _is_whole(body: bytes, reason: str) -> bool:
    """Whether a success without a token set is all that the provider had to say, be it in XML or in plain words.

    A page is a machine's in between, which wants a login; and what is cut off, mangled or half there was a token set.
    """
    text = text_of(body)
    match reason:
        case "no_token":
            return not _HALF_THERE.search(text)
        case "not_json":
            half_there = text.lstrip()[:1] in ("{", "[") or "access_token" in text or "refresh_token" in text
            return not half_there and not is_page(text)
        case _:
            return False


def _client_error(
    response: Response, *, provider: Provider, proven: bool, wall_clock: datetime, hide: Iterable[str]
) -> Outcome:
    """Read a refusal, which may ask to wait by its words, or by a Retry-After as GitHub's 403 of its secondary limits.

    A header of a provider's own name may be in all of its answers, so it tells how long, and never whether. What the
    standards say of a token, a client or a request stays that: a machine in between may add its header to any refusal.
    """
    match read_refusal(response.body, hide=hide):
        case ErrorAnswer(code=code, description=sentence) if word := word_of_limit(code, sentence):
            return NotNow(word, response.status, _told_wait(response, provider, wall_clock))
        case ErrorAnswer(code="invalid_grant", standard=True) if is_own_word(response):
            return Refused() if proven else NotUnderstood("invalid_grant" + UNPROVEN, response.status)
        case _:
            code = raw_code(response, hide)
            wait = None if code in WORDS_OF_REFUSAL else retry_after(response.headers, wall_clock)
            return NotNow(code, response.status, wait) if wait else NotUnderstood(code, response.status)


def _told_wait(answer: Response | Silence, provider: Provider, wall_clock: datetime) -> timedelta | None:
    """How long a provider says that is to be waited, in the header of its file."""
    return retry_after(answer.headers, wall_clock, header=provider.retry_after_header)


def is_own_word(answer: Answer) -> bool:
    """Whether an error is told as the token endpoint tells one."""
    return isinstance(answer, Response) and answer.status == HTTPStatus.BAD_REQUEST and _is_json(answer.body)


def _is_json(body: bytes) -> bool:
    """Whether the token endpoint itself speaks (RFC 6749 §5.2), and no page with a link that looks like a form."""
    try:
        return isinstance(JSON.decode(text_of(body)), dict)
    except (ValueError, RecursionError):
        return False
