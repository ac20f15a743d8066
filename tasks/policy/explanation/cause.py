"""Cause and explanation: what a check says, and what is made of all that they say."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why a grant is as it is, by one check.

    `told`: a sentence; `then`: what happens next by itself; `retry_at`: when it is tried again at the soonest;
    `remedy`: what a person does, in words; `command`: what is copied into a shell to do it. `stops`: while it lasts,
    nothing is sent for this grant, however long one waits. `rests`: nothing is wrong.
    """

    told: str
    since: datetime | None = None
    by_whom: str | None = None
    then: str | None = None
    retry_at: datetime | None = None
    remedy: str | None = None
    command: str | None = None
    stops: bool = False
    rests: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """One cause by its word."""

    cause: str
    told: str
    since: datetime | None
    by_whom: str | None
    remedy: str | None
    command: str | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a grant is as it is. `chain`: what else holds, the outermost first.

    `cause`: the headline's word, never changed once released. `hopeless`: waiting alone mends nothing; `decided`:
    because somebody has decided it. `token`: what there is to hand out meanwhile. `well`: nothing is wrong.
    """

    cause: str
    headline: str
    since: datetime | None
    by_whom: str | None
    chain: tuple[Link, ...]
    next: str
    token: str
    will_retry_at: datetime | None
    remedy: str | None
    command: str | None
    hopeless: bool
    decided: bool
    well: bool


def record_of(told: Explanation) -> dict[str, Any]:
    """An explanation as JSON shows it."""
    return {**asdict(told), "chain": [asdict(each) for each in told.chain]}


def iso(at: datetime) -> str:
    """A time within a sentence: as users see every time."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def length(span: timedelta) -> str:
    """A length of time within a sentence, in its largest unit: `40 s`, `3 min`, `5 h`, `12 days`."""
    seconds = max(round(abs(span.total_seconds())), 0)
    for unit, size, at_least in (("days", 86400, 172800), ("h", 3600, 7200), ("min", 60, 120)):
        if seconds >= at_least:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def many(count: int, noun: str) -> str:
    """A number of things."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(names: list[str], *, most: int = 3) -> str:
    """Names within a sentence, the first few of them."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
