"""Pace: how much slower a client goes that is throttled in words that nobody understands.

Where more than a fifth of a minute's requests are refused alike, on grants whose last request had succeeded, while
others succeed, more of the same does not help: the client goes at half its pace (one without a rate at half of what it
did in that minute), halved again with every minute in which that goes on, down to one a minute, and doubled with every
minute without such a refusal. A minute in which nothing is asked, as behind a shut valve, is neither.

The same is seen where a part of a fleet has died at one instant, and there a slower pace only makes those stale who
live. What tells them apart is what becomes of those who were refused: one that is dead is never refreshed again, and
one that was throttled is. A word *passes* once a grant that was refused so is refreshed; until it is known to, it costs
one minute at half the pace and no more.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from tasks.policy.valve import Result

MINUTE: Final = timedelta(minutes=1)
A_DAY: Final = timedelta(days=1)  # for which it is remembered whether a word passes
SHARE: Final = 0.2
LONGEST_REQUEST: Final = timedelta(seconds=30)  # one that ended in a minute may have been begun so long before it
LEAST: Final = 3  # refusals that slow a client; while it is slow a single one may be many
SLOWEST: Final = 1.0  # request a minute


@dataclass(frozen=True, slots=True)
class Pace:
    """What is known of a client's pace, by the names of the columns of `witnesses`.

    `slowed_from`: requests a minute, before it was halved `slowed_by` times. `slowed_code` where that is nothing: the
    word that had its minute and went on; it slows nobody until it is known to pass.
    """

    slowed_by: int = 0
    slowed_at: datetime | None = None
    slowed_from: float | None = None
    slowed_code: str | None = None
    minute_at: datetime | None = None
    minute_asked: int = 0
    minute_refused: int = 0
    minute_code: str | None = None
    passing_code: str | None = None
    passing_at: datetime | None = None


FULL: Final = Pace()


def allowed(pace: Pace) -> float | None:
    """How many requests a minute the client allows itself; None: as many as its rate does."""
    if pace.slowed_by <= 0 or pace.slowed_from is None:
        return None
    return max(pace.slowed_from / 2.0 ** min(pace.slowed_by, 60), SLOWEST)


def feed(
    pace: Pace, results: Sequence[Result], *, at: datetime, rate: float | None, witness_at: datetime | None
) -> Pace:
    """The pace after some requests ended at `at`.

    Args:
        pace: as it was.
        results: how the requests ended.
        at: now.
        rate: requests a minute that the client may send; None: as many as it likes.
        witness_at: when the last refresh that succeeded before these was begun.

    """
    pace = _passed(pace, results, at)
    if pace.minute_at is None or at - pace.minute_at >= MINUTE:
        pace = replace(
            _judged(pace, at=at, rate=rate, witness_at=witness_at),
            minute_at=at, minute_asked=0, minute_refused=0, minute_code=None,
        )  # fmt: skip
    refused = [result.code for result in results if result.was_well]
    if not refused:
        return replace(pace, minute_asked=pace.minute_asked + len(results))
    # A word that was heard once gives way to another: it may be some passing trouble's.
    code = Counter(refused).most_common(1)[0][0] if pace.minute_refused <= 1 else pace.minute_code or refused[0]
    before = pace.minute_refused if code == pace.minute_code else 0
    return replace(
        pace,
        minute_asked=pace.minute_asked + len(results),
        minute_refused=before + refused.count(code),
        minute_code=code,
    )


def _passed(pace: Pace, results: Sequence[Result], at: datetime) -> Pace:
    """A grant was refreshed that had been refused: so that word is not a death."""
    codes = [result.recovered_from for result in results if result.recovered_from is not None]
    if not codes or (pace.passing_code == codes[-1] and pace.passing_at == at):
        return pace
    return replace(pace, passing_code=codes[-1], passing_at=at)


def _judged(pace: Pace, *, at: datetime, rate: float | None, witness_at: datetime | None) -> Pace:
    """The pace after a minute is over."""
    if pace.minute_at is None or not pace.minute_asked:
        return pace
    others_succeed = witness_at is not None and witness_at >= pace.minute_at - LONGEST_REQUEST
    many = pace.minute_refused > SHARE * pace.minute_asked and others_succeed
    if pace.slowed_by > 0:
        return _gone_on(pace, at, many=many)
    if not many or pace.minute_refused < LEAST or _is_spared(pace, at):
        return pace
    done = float(pace.minute_asked) if rate is None else rate
    return replace(pace, slowed_by=1, slowed_at=at, slowed_from=done, slowed_code=pace.minute_code)


def _gone_on(pace: Pace, at: datetime, *, many: bool) -> Pace:
    """The pace after a minute of a slow one."""
    if pace.minute_refused == 0:
        return _faster(pace, at)
    if not _passes(pace, pace.slowed_code, at):
        return replace(pace, slowed_by=0, slowed_from=None, slowed_at=at)
    if many and (allowed(pace) or SLOWEST) > SLOWEST:
        return replace(pace, slowed_by=pace.slowed_by + 1, slowed_at=at)
    return pace


def _faster(pace: Pace, at: datetime) -> Pace:
    if pace.slowed_by > 1:
        return replace(pace, slowed_by=pace.slowed_by - 1, slowed_at=at)
    return replace(pace, slowed_by=0, slowed_at=None, slowed_from=None, slowed_code=None)


def _is_spared(pace: Pace, at: datetime) -> bool:
    """Whether its word had its minute, and has not passed since."""
    if pace.slowed_code != pace.minute_code or pace.slowed_at is None or at - pace.slowed_at >= A_DAY:
        return False
    return not _passes(pace, pace.minute_code, at)


def _passes(pace: Pace, code: str | None, at: datetime) -> bool:
    """Whether a grant that was refused so was refreshed afterwards, a day ago at most."""
    return (
        code is not None and pace.passing_code == code and pace.passing_at is not None and at - pace.passing_at < A_DAY
    )
