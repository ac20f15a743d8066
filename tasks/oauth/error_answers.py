"""Error answers: the word and the sentence in which a provider says no, in whatever shape it writes them.

RFC 6749 §5.2 has `error` and `error_description`. Others say `{"errors": [{"errorType": …}]}`, `{"status":
"BAD_REFRESH_TOKEN"}`, `{"object": "error", "code": …}`, `{"ok": false}`, or numbers. Whatever they write may repeat a
secret of the request, a refresh token or a code: neither text ever does.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

DESCRIPTION_LIMIT = 200
CODE_LIMIT = 50
DIGITS = 6  # so few are a number of an error; more may be a part of a token
HIDDEN_IN_PART = 8  # so long a piece of a secret is not repeated either
UNRECOGNISED = "unrecognised"

WORD = re.compile(rf"[A-Za-z][A-Za-z_.:-]{{0,{CODE_LIMIT - 1}}}")
NUMBERED = re.compile(rf"[A-Za-z][A-Za-z]*[_.:-]?\d{{1,{DIGITS}}}|\d{{1,{DIGITS}}}|[A-Z]+\d?(_[A-Z0-9]+)+")
MOST_DIGITS = re.compile(rf"\D*(\d\D*){{0,{DIGITS}}}")
# Where an object says its word, the most telling member first; a `status` that is a number repeats HTTP's.
NAMES: Final = ("error", "errorType", "error_type", "errorCode", "error_code", "code", "status", "type")
NAMES_WITHIN_ERROR: Final = ("type", "status", "code", "errorType", "error_type", "errorCode", "error_code")
SENTENCES: Final = ("error_description", "message", "msg", "reason", "detail", "description", "error_message")
FAILED: Final = ("error", "fail", "failed", "failure")


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An error that a provider told; both texts are cleaned and hold no secret. `standard`: by the member `error`."""

    code: str
    description: str = ""
    standard: bool = True


def tells_error(members: Mapping[str, Any]) -> bool:
    """Whether members say by themselves that it went wrong, also where they came as a success."""
    status = members.get("status")
    return bool(
        members.get("error")
        or members.get("errors")
        or members.get("ok") is False
        or members.get("success") is False
        or members.get("object") == "error"
        or (isinstance(status, str) and status.lower() in FAILED)
    )


def error_answer(members: Mapping[str, Any], hide: Iterable[str]) -> ErrorAnswer:
    """Read the error that members tell; `unrecognised` where they have no word for it that may be repeated."""
    error = members.get("error")
    if isinstance(error, Mapping):  # Facebook and others answer {"error": {"type": …, "message": …}}
        code = _code_within(error, hide, names=NAMES_WITHIN_ERROR)
        return ErrorAnswer(code, _described(_sentence(error) or _sentence(members), hide))
    if error not in (None, "", False):
        return ErrorAnswer(_code(error, hide), _described(_sentence(members), hide))
    first = _first(members.get("errors"))
    if isinstance(first, Mapping):
        code = _code_of_field(first, hide) or _code_within(first, hide)
        return ErrorAnswer(code, _described(_sentence(first) or _sentence(members), hide), standard=False)
    sentence = first if isinstance(first, str) else _sentence(members)
    return ErrorAnswer(_code_within(members, hide), _described(sentence, hide), standard=False)


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
    words = [error[name] for name in names if isinstance(error.get(name), str)]
    telling = [word for word in words if word.lower() not in FAILED]
    numbers = [str(_whole(error[name])) for name in ("code", "error_subcode") if _is_number(error.get(name))]
    codes = (_code(each, hide) for each in [*telling, ".".join(numbers), *words])
    return next((code for code in codes if code != UNRECOGNISED), UNRECOGNISED)


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
    return UNRECOGNISED if any(_repeats(text, secret) for secret in hide) else text


def _is_plausible(text: str) -> bool:
    if WORD.fullmatch(text):
        return True
    parts = text.split(".")
    return bool(MOST_DIGITS.fullmatch(text)) and all(NUMBERED.fullmatch(each) or WORD.fullmatch(each) for each in parts)


def _repeats(text: str, secret: str) -> bool:
    """Whether a word is a secret, holds one, or is a piece of one that is long enough to matter."""
    return secret != "" and (secret in text or (len(text) >= HIDDEN_IN_PART and text in secret))


def _described(value: object, hide: Iterable[str]) -> str:
    text = cleaned(value, limit=None)
    for secret in sorted(filter(None, hide), key=len, reverse=True):
        text = text.replace(secret, "…")
    text = re.sub(r"[A-Za-z0-9_~+/=.%-]{20,}", "…", text)  # a word this long is a token or an address
    return text[:DESCRIPTION_LIMIT]


def cleaned(value: object, *, limit: int | None) -> str:
    """Text that any database and terminal takes: no control characters, no halves of surrogate pairs."""
    if not isinstance(value, str):
        return ""
    visible = value if value.isprintable() else "".join(each if each.isprintable() else " " for each in value)
    return " ".join(visible.split())[:limit]
