"""Token answer: what a token endpoint said, as a value; pure, and whatever the bytes are, a value comes back.

    at the paths of the provider file   a token set
    else at RFC 6749's places           the same: a token set that reached us is never dropped for where it stands
    else amid a text that is no JSON    the same, and nothing but a token set
    else                                an error that was told, or unreadable

Nothing about a life, nor a refresh token that is none, is a reason to drop a token set either: what makes no sense is
left out and named in `strange`.
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, TypeGuard
from urllib.parse import parse_qsl

from tasks.oauth.answer_text import BYTE_ORDER_MARK, JSON, objects_amid, text_of
from tasks.oauth.echoes import repeats
from tasks.oauth.error_answers import ErrorAnswer, cleaned, error_answer, tells_error, word_of
from tasks.oauth.token_paths import RFC, SecondTokenSet, TokenPaths, at, steps_of

SCOPE_LIMIT: Final = 4000
FORM_LIMIT: Final = 1000  # members
SECONDS_LIMIT: Final = 1e18  # far beyond any life, and any instant in milliseconds

# A life is told in seconds. A number this large is an instant since 1970 (2001 to 2036), or milliseconds of one; what
# lies between is how some write *for ever*: 2147483647, 9999999999.
INSTANT: Final = (1e9, 2.1e9)
INSTANT_MS: Final = 1e12
# An instant is told in seconds or milliseconds since 1970: both from 1973 to 5138, and so apart from each other. What
# is less is a length, what is more counts microseconds or nanoseconds.
SECONDS: Final = (1e8, 1e11)
MILLISECONDS: Final = (1e11, 1e14)

OF_HORIZONS: Final = frozenset(RFC.refresh_expires_in + RFC.refresh_expires_at + RFC.consent_expires_in)


@dataclass(frozen=True, slots=True)
class Ends:
    """What an answer says of ends beside `expires_in`.

    Lives in seconds from the start of the request; infinite: it said that there is no end. `strange`: what it said of
    lives, or for a refresh token, and makes no sense.
    """

    expires_at: datetime | None = None
    refresh_life: float | None = None
    refresh_expires_at: datetime | None = None
    consent_life: float | None = None
    strange: tuple[str, ...] = ()


NO_ENDS: Final = Ends()


@dataclass(frozen=True, slots=True)
class TokenSet:
    """One answer of the token endpoint (RFC 6749 §5.1); `expires_in` in seconds, as the provider said it.

    `second`: another token set of the same consent, where the provider file names one.
    """

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False, default=None)
    expires_in: float | None = None
    scope: str | None = None
    token_type: str = "Bearer"  # noqa: S105 (a scheme, no secret)
    ends: Ends = NO_ENDS
    second: "TokenSet | None" = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The body is neither a token set nor an error; `reason`: empty, not_json, no_token or bad_token."""

    reason: str


TokenAnswer = TokenSet | ErrorAnswer | Unreadable


def read_token_answer(
    body: bytes, *, paths: TokenPaths = RFC, second: SecondTokenSet | None = None, hide: Iterable[str] = ()
) -> TokenAnswer:
    """Read what a token endpoint answered.

    A body that holds a usable access token is a token set, also beside an error. `second`: where another token set of
    the same consent is; it counts as the only one where there is none beside it. `hide`: secrets of the request, which
    an error's texts must not repeat; looked at only then.
    """
    members = _members(body, paths)
    answer = members if isinstance(members, Unreadable) else _token_set(members, paths, second)
    if isinstance(answer, TokenSet):
        return answer
    amid_text = _amid_text(body, paths, second)
    if amid_text is not None:
        return amid_text
    telling = _telling(members)
    return error_answer(telling, hide) if telling is not None and tells_error(telling) else answer


def read_refusal(body: bytes, *, hide: Iterable[str]) -> ErrorAnswer | None:
    """Read what an answer whose status is a refusal says; None: nothing that has members."""
    telling = _telling(_members(body, RFC))
    return None if telling is None else error_answer(telling, hide)


def untold_word(body: bytes) -> str | None:
    """The word of a refusal that is told by no name, as it came; None: there is none. Show its shape alone."""
    telling = _telling(_members(body, RFC))
    return None if telling is None else word_of(telling)


def _telling(members: object) -> dict[str, Any] | None:
    """The object that may say what went wrong: the body's own, or of a list of errors the first."""
    found = next(iter(members), None) if isinstance(members, list) else members
    return found if isinstance(found, dict) else None


def _token_set(
    members: dict[str, Any] | list[Any], paths: TokenPaths, second: SecondTokenSet | None
) -> TokenSet | Unreadable:
    answer = _plain(members) if paths.is_plain else _at_paths(members, paths)
    return answer if second is None else _with_second(answer, _at_paths(at(members, steps_of(second.within)), paths))


def _amid_text(body: bytes, paths: TokenPaths, second: SecondTokenSet | None) -> TokenSet | None:
    """The first token set amid a text that is no JSON as a whole; None: there is none.

    Only a usable access token where this provider has it is reason enough to take a part for the answer, for a spent
    refresh token has no other successor. An error amid a text is nobody's word: a machine in between may have quoted
    it, and what is read as a refusal can kill a grant, so it is left to the whole body. An error that shows tokens
    shows those that were sent.
    """
    for members in objects_amid(text_of(body)):
        answer = _token_set(members, paths, second)
        if isinstance(answer, TokenSet) and not tells_error(members):
            return answer
    return None


def _with_second(answer: TokenSet | Unreadable, second: TokenSet | Unreadable) -> TokenSet | Unreadable:
    if not isinstance(second, TokenSet):
        return answer
    if not isinstance(answer, TokenSet):
        return second
    return answer if second.access_token == answer.access_token else replace(answer, second=second)


def _members(body: bytes, paths: TokenPaths) -> dict[str, Any] | list[Any] | Unreadable:
    """The body's members: a JSON object or list, or the form encoding that some providers answer with."""
    if not body.strip():
        return Unreadable("empty")
    try:
        found = JSON.decode(text_of(body))
    except (ValueError, RecursionError):
        form = _form(body)
        is_form = "access_token" in form or "error" in form or any(paths.found("access_token", form))
        return form if is_form else Unreadable("not_json")
    return found if isinstance(found, dict | list) else Unreadable("no_token")


def _form(body: bytes) -> dict[str, Any]:
    """The members of a form. A name may stand in it as it is (`user=José`), which is no reason to drop its tokens."""
    text = body.decode(errors="replace").removeprefix(BYTE_ORDER_MARK).strip()
    if not text.isascii() and "<" in text:  # a page in any language has links that look like one
        return {}
    try:
        return dict(parse_qsl(text, max_num_fields=FORM_LIMIT))
    except ValueError:
        return {}


def _plain(members: dict[str, Any] | list[Any]) -> TokenSet | Unreadable:
    """Read a token set at RFC 6749's places; walking paths to them would cost more than all the rest."""
    if isinstance(members, list):
        return Unreadable("no_token")
    access_token = members.get("access_token")
    if access_token in (None, ""):
        return Unreadable("no_token")
    if not is_token(access_token):
        return Unreadable("bad_token")
    refresh_token, strange = _refresh_token([members.get("refresh_token")])
    token_set = TokenSet(
        access_token,
        refresh_token,
        _seconds(members.get("expires_in")),
        _scope(members.get("scope")),
        _token_type(members),
    )
    seconds = token_set.expires_in
    if seconds is not None and seconds < INSTANT[0] and not strange and OF_HORIZONS.isdisjoint(members):
        return token_set
    return _with_ends(token_set, members, RFC, strange)


def _at_paths(members: Any, paths: TokenPaths) -> TokenSet | Unreadable:
    """Read a token set where the file says, else where the RFC does.

    Each half of a pair is looked for where the other one stands: a refresh token of another set would be taken for the
    next one of this grant.
    """
    at_rfc = members.get("access_token") if isinstance(members, dict) else None
    found = list(paths.found("access_token", members))
    access_token = next(filter(is_token, found), None)
    if access_token is None:
        elsewhere = Unreadable("no_token") if paths.is_plain else _plain(members if isinstance(members, dict) else [])
        return Unreadable("bad_token") if found and elsewhere == Unreadable("no_token") else elsewhere
    refreshing = list(paths.found("refresh_token", members))
    if not any(refreshing) and access_token == at_rfc:
        refreshing = [members.get("refresh_token")]
    refresh_token, strange = _refresh_token(refreshing)
    token_set = TokenSet(
        access_token,
        refresh_token,
        _seconds(next(paths.found("expires_in", members), None)),
        next(filter(None, map(_scope, paths.found("scope", members))), None),
        _token_type(members),
    )
    return _with_ends(token_set, members, paths, strange)


def _refresh_token(found: Iterable[Any]) -> tuple[str | None, list[str]]:
    """The first refresh token that can be sent back, and what is strange of it.

    RFC 6749 §5.1 leaves it to the server whether there is one: `false`, 0, `[]` and `{}` say that there is none, as
    null and an empty text do. Another one that cannot be sent back is no reason to drop the access token beside it:
    where a refresh token was spent for this answer, that is all there is.
    """
    told = [each for each in found if each]
    refresh_token = next(filter(is_token, told), None)
    return refresh_token, ["refresh_token"] if told and refresh_token is None else []


def is_token(value: object) -> TypeGuard[str]:
    """Whether this can be a token: visible ASCII and space, as anything else could not be sent back as it came.

    RFC 6749 appendices A.12 and A.17.
    """
    return isinstance(value, str) and value != "" and value.isascii() and value.isprintable()


def _with_ends(token_set: TokenSet, members: Any, paths: TokenPaths, strange: list[str]) -> TokenSet:
    """Add what an answer says of ends; of each the first name that is there counts. `strange`: what is so already."""
    expires_in = _length(strange, "expires_in", paths.found("expires_in", members))
    refresh_life = _length(strange, "refresh_expires_in", paths.found("refresh_expires_in", members))
    consent_life = _length(strange, "consent_expires_in", paths.found("consent_expires_in", members))
    expires_at = refresh_expires_at = None
    if expires_in is None:
        expires_at = _instant(strange, "expires_at", paths.found("expires_at", members))
    if refresh_life is None:
        refresh_expires_at = _instant(strange, "refresh_expires_at", paths.found("refresh_expires_at", members))
    ends = Ends(expires_at, _or_endless(refresh_life), refresh_expires_at, _or_endless(consent_life), tuple(strange))
    return replace(token_set, expires_in=expires_in, ends=ends)


def _length(strange: list[str], name: str, found: Iterator[Any]) -> float | None:
    """Seconds, of the first that is there; what cannot be a length is noted."""
    value = next(found, None)
    if value is None:
        return None
    seconds = _seconds(value)
    if seconds is None or _is_instant(seconds):
        strange.append(name)
        return None
    return seconds


def _is_instant(seconds: float) -> bool:
    return INSTANT[0] <= seconds < INSTANT[1] or seconds >= INSTANT_MS


def _or_endless(seconds: float | None) -> float | None:
    """What lives for 0 seconds or less does not expire: Keycloak says so of offline tokens."""
    return math.inf if seconds is not None and seconds <= 0 else seconds


def _instant(strange: list[str], name: str, found: Iterator[Any]) -> datetime | None:
    """An instant, of the first that is there; what cannot be one is noted."""
    value = next(found, None)
    if value is None:
        return None
    seconds = _seconds(value)
    instant = _of_text(value) if seconds is None and isinstance(value, str) else _of_number(seconds)
    if instant is None:
        strange.append(name)
    return instant


def _of_number(value: float | None) -> datetime | None:
    """Seconds or milliseconds since 1970, told apart by their size."""
    if value is None:
        return None
    if SECONDS[0] <= value < SECONDS[1]:
        return datetime.fromtimestamp(value, UTC)
    return datetime.fromtimestamp(value / 1000, UTC) if MILLISECONDS[0] <= value < MILLISECONDS[1] else None


def _of_text(value: str) -> datetime | None:
    """ISO 8601; without a zone it is UTC."""
    try:
        instant = datetime.fromisoformat(value.strip())
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return None if math.isnan(seconds) else max(-SECONDS_LIMIT, min(seconds, SECONDS_LIMIT))


def _token_type(members: Any) -> str:
    told = members.get("token_type") if isinstance(members, dict) else None
    return cleaned(told, limit=40) or "Bearer"


def _scope(value: object) -> str | None:
    """The scope as text; Twitch answers with a list."""
    if isinstance(value, list):
        value = " ".join(item for item in value if isinstance(item, str))
    return cleaned(value, limit=SCOPE_LIMIT) or None


def tokens_of(token_set: TokenSet) -> tuple[str | None, str | None]:
    """The tokens themselves."""
    return token_set.access_token, token_set.refresh_token


def told_scope(token_set: TokenSet, sent: Iterable[str], *, asked: Iterable[str] = ()) -> TokenSet:
    """A token set whose scope holds no word that repeats a secret: it is stored in clear, and applications read it.

    `asked`: the scopes that we asked for ourselves, which are no secrets. `sent`: the secrets of the request, looked at
    only where a scope holds other words. Of the answer's own tokens only the whole is looked for: one that tells its
    scope in clear repeats it, and not the other way round.
    """
    if token_set.second is not None:
        token_set = replace(token_set, second=told_scope(token_set.second, sent, asked=asked))
    scope, tokens = token_set.scope, [each for each in tokens_of(token_set) if each]
    if scope is None or scope_set(scope) <= frozenset(asked):
        return token_set
    if not repeats(scope, sent) and not any(token in scope for token in tokens):
        return token_set
    words = [word for word in re.split(r"[ ,]+", scope) if not repeats(word, sent)]
    fit = [word for word in words if not any(token in word for token in tokens)]
    return replace(token_set, scope=" ".join(fit) or None)


def scope_set(scope: str | None) -> frozenset[str]:
    """Split a scope at spaces and commas, so that two can be compared whatever their order."""
    return frozenset(re.split(r"[ ,]+", scope)) - {""} if scope else frozenset()
