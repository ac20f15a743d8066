"""Limits: how a provider asks to come later, and for how long; that tells of no token and of no secret.

The standards have a header and two words for it; providers write `rate_limit_exceeded`, `TooManyRequestsException` or
`Throttling.User`, with whatever status, or a sentence beside a word that means something else (*login rate exceeded*).
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

RETRY_AFTER: Final = "Retry-After"
RETRY_AFTER_CAP: Final = timedelta(minutes=5)

ASKED_TO_WAIT: Final = "asked_to_wait"  # the code where only a sentence says so

# RFC 6749 §4.1.2.1, RFC 8628 §3.5, and what is written instead.
_WORDS: Final = re.compile(
    rf"{ASKED_TO_WAIT}|temporarily_unavailable|slow.?down.*|resource.?exhausted|.*throttl.*|.*rate.?limit.*"
    r"|.*quota.?(exceed|exhaust).*|.*too.?many.?(requests|attempts|calls).*|.*(request|call)s?.?limit.?(exceed|reach).*",
    re.IGNORECASE,
)
_SENTENCES: Final = re.compile(
    r"\b(too many requests|throttled|rate[- ]limit(s|ed|ing)?|rate exceeded|request limit (reached|exceeded))\b",
    re.IGNORECASE,
)
# Beside invalid_grant this may be a way to say that a code or a token has ended: whoever had it shall begin again.
_LATER: Final = re.compile(r"\b(temporarily unavailable|try again (later|shortly|after|in \d+))\b", re.IGNORECASE)


def word_of_limit(code: str, sentence: str = "") -> str | None:
    """The word of an error that says that too much was asked, or that nothing can be now; None: it does not.

    It is the error's own, or `ASKED_TO_WAIT` where only the sentence beside it says so.
    """
    if _WORDS.fullmatch(code):
        return code
    is_told = _SENTENCES.search(sentence) or (code != "invalid_grant" and _LATER.search(sentence))
    return ASKED_TO_WAIT if is_told else None


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
