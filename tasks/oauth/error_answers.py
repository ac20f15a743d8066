"""Error answers: the word and the sentence in which a provider says no, in whatever shape it writes them.

RFC 6749 §5.2 has `error` and `error_description`. Others say `{"errors": [{"errorType": …}]}`, `{"status":
"BAD_REFRESH_TOKEN"}`, `{"object": "error", "code": …}`, `{"error": true, "code": …}`, `{"ok": false}`, or numbers.
Whatever they write may repeat a secret of the request, a refresh token or a code, or be a token of its own: neither
text ever does.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tasks.oauth.echoes import Together, repeats

DESCRIPTION_LIMIT = 200
CODE_LIMIT = 64
DIGITS = 6  # so few are a number of an error; more may be a part of a token
UNRECOGNISED = "unrecognised"
# What the standards themselves say tells nothing of anybody (RFC 6749 §4.1.2.1 and §5.2, RFC 7009 §2.2.1, RFC 6750
# §3.1, OpenID Connect Core 3.1.2.6): a secret that happens to hold a piece of one must not change what it means.
STANDARD: Final = frozenset(
    {
        *("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type"),
        *("invalid_scope", "access_denied", "unsupported_response_type", "server_error", "temporarily_unavailable"),
        *("unsupported_token_type", "invalid_token", "insufficient_scope", "interaction_required", "login_required"),
        *("account_selection_required", "consent_required"),
    }
)
# Members whose values are no words: an error that says the same says a token.
TOKENS: Final = ("access_token", "refresh_token", "id_token", "token")

WORD = re.compile(rf"[A-Za-z][A-Za-z_.:-]{{0,{CODE_LIMIT - 1}}}")
NUMBERED = re.compile(rf"[A-Za-z][A-Za-z]*[_.:-]?\d{{1,{DIGITS}}}|\d{{1,{DIGITS}}}|[A-Z]+\d?(_[A-Z0-9]+)+")
MOST_DIGITS = re.compile(rf"\D*(\d\D*){{0,{DIGITS}}}")
# Where an object says its word, the most telling member first; a `status` that is a number repeats HTTP's.
NAMES: Final = ("error", "errorType", "error_type", "errorCode", "error_code", "code", "status", "result", "type")
NAMES_WITHIN_ERROR: Final = ("error", "type", "status", "code", "errorType", "error_type", "errorCode", "error_code")
SENTENCES: Final = (
    *("error_description", "message", "msg", "reason", "detail", "description", "error_message"),
    *("errorMessage", "errmsg", "error_msg", "title"),
)
NUMBERS: Final = ("code", "errcode", "errorCode", "error_code")
FAILED: Final = ("error", "fail", "failed", "failure")
WELL: Final = ("ok", "success", "none", "0")  # of an error: that there is none
NO_TYPE: Final = "about:blank"  # such a problem is told by its status alone (RFC 9457 §4.2.1)


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An error that a provider told; both texts are cleaned and hold no secret. `standard`: by the member `error`."""

    code: str
    description: str = ""
    standard: bool = True


def word_of(members: Mapping[str, Any]) -> str | None:
    """The word that members have for what went wrong, as it came: a secret, perhaps. None: there is none."""
    error = members.get("error")
    first = _first(error)
    if isinstance(first, str) and first:
        return first
    errors = (first, _first(members.get("errors")))
    within = next((each for each in errors if isinstance(each, Mapping)), members)
    return next((word for word in _words(within, NAMES) if word and word.lower() not in FAILED), None)


def tells_error(members: Mapping[str, Any]) -> bool:
    """Whether members say by themselves that it went wrong, also where they came as a success."""
    ends = [members.get(name) for name in ("status", "result")]
    return bool(
        any(_is_fault(members.get(name)) for name in ("error", "errors", "errcode", "errorCode", "error_code"))
        or members.get("ok") is False
        or members.get("success") is False
        or members.get("object") == "error"
        or any(isinstance(end, str) and end.lower() in FAILED for end in ends)
    )


def _is_fault(told: Any) -> bool:
    """Whether what stands in an error's place is one: TikTok has `{"code": "ok"}` there, WeChat a 0."""
    if isinstance(told, Mapping):
        words = [told[name] for name in NAMES_WITHIN_ERROR if told.get(name)]
        return bool(told) and not (words and all(map(_is_well, words)))
    return bool(told) and not _is_well(told)


def _is_well(word: object) -> bool:
    return isinstance(word, str) and word.lower() in WELL


def error_answer(members: Mapping[str, Any], hide: Iterable[str]) -> ErrorAnswer:
    """Read the error that members tell; `unrecognised` where they have no word for it that may be repeated."""
    hide = Together((_tokens_in(members), hide))
    error = members.get("error")
    if isinstance(error, Mapping):  # Facebook and others answer {"error": {"type": …, "message": …}}
        code = _code_within(error, hide, names=NAMES_WITHIN_ERROR)
        return ErrorAnswer(code, _described(_sentence(error) or _sentence(members), hide))
    if error is True:  # the word stands beside it
        code = _code_within(members, hide)
        return ErrorAnswer(code, _described(_sentence(members), hide), standard=code == UNRECOGNISED)
    if error and not isinstance(error, list):
        return ErrorAnswer(_code(error, hide), _described(_sentence(members), hide))
    first = _first(error or members.get("errors"))
    if error and isinstance(first, str):
        return ErrorAnswer(_code(first, hide), _described(_sentence(members), hide), standard=False)
    if isinstance(first, Mapping):
        code = _code_of_field(first, hide) or _code_within(first, hide)
        return ErrorAnswer(code, _described(_sentence(first) or _sentence(members), hide), standard=False)
    sentence = first if isinstance(first, str) else _sentence(members)
    return ErrorAnswer(_code_within(members, hide), _described(sentence, hide), standard=False)


def _tokens_in(members: Mapping[str, Any]) -> list[str]:
    """What the answer itself has for tokens: no text of it repeats them either."""
    return [value for name in TOKENS if isinstance(value := members.get(name), str)]


def _first(errors: Any) -> Any:
    return next(iter(errors), None) if isinstance(errors, list) else errors


def _code_of_field(error: Mapping[str, Any], hide: Iterable[str]) -> str | None:
    """Strava says which member of which resource: `RefreshToken.refresh_token.invalid`."""
    parts = [error.get(name) for name in ("resource", "field", "code")]
    if not all(isinstance(part, str) and part for part in parts):
        return None
    code = _code(".".join(map(str, parts)), hide)
    return None if code == UNRECOGNISED else code


def _code_within(error: Mapping[str, Any], hide: Iterable[str], *, names: Sequence[str] = NAMES) -> str:
    """The first word that an object has for it; else its numbers, the narrower one behind a dot (Meta)."""
    words = _words(error, names)
    telling = [word for word in words if word.lower() not in FAILED]
    number = next((name for name in NUMBERS if _is_number(error.get(name))), "code")
    numbers = [str(_whole(error[name])) for name in (number, "error_subcode") if _is_number(error.get(name))]
    codes = (_code(each, hide) for each in [*telling, ".".join(numbers), *words])
    return next((code for code in codes if code != UNRECOGNISED), UNRECOGNISED)


def _words(members: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    words = [members[name] for name in names if isinstance(members.get(name), str)]
    return [word for word in words if word != NO_TYPE]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _sentence(members: Mapping[str, Any]) -> object:
    return next((members[name] for name in SENTENCES if isinstance(members.get(name), str)), "")


def _code(value: object, hide: Iterable[str]) -> str:
    """An error's word is short and has few digits: whatever looks otherwise may be a token."""
    text = str(_whole(value)) if _is_number(value) else value
    if not isinstance(text, str) or len(text) > CODE_LIMIT or not _is_plausible(text):
        return UNRECOGNISED
    return text if text in STANDARD or not repeats(text, hide) else UNRECOGNISED


def _is_plausible(text: str) -> bool:
    if WORD.fullmatch(text):
        return True
    parts = text.split(".")
    return bool(MOST_DIGITS.fullmatch(text)) and all(NUMBERED.fullmatch(each) or WORD.fullmatch(each) for each in parts)


def _described(value: object, hide: Iterable[str]) -> str:
    text = cleaned(value, limit=None)
    text = re.sub(r"[A-Za-z0-9_~+/=.%-]{20,}", "…", text)[:DESCRIPTION_LIMIT]  # so long a word is a token or an address
    if not repeats(text, hide):
        return text
    text = " ".join("…" if repeats(word, hide) else word for word in text.split(" "))
    return "…" if repeats(text, hide) else text  # one that holds spaces itself


def told_word(word: str | None, hide: Iterable[str]) -> str:
    """A word of a stranger's, as an error's code is told: `unrecognised` where it may not be."""
    return _code(word, hide)


def told_sentence(sentence: str | None, hide: Iterable[str]) -> str:
    """A sentence of a stranger's, as an error's description is told."""
    return _described(sentence, hide)


def cleaned(value: object, *, limit: int | None) -> str:
    """Text that any database and terminal takes: no control characters, no halves of surrogate pairs."""
    if not isinstance(value, str):
        return ""
    visible = value if value.isprintable() else "".join(each if each.isprintable() else " " for each in value)
    return " ".join(visible.split())[:limit]
