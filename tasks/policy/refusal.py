"""Refusal: whose fault is one that nobody understands? A witness tells: somebody else who succeeded since.

A provider has its own words for a dead refresh token, and for a client that it does not know: from one answer nobody
can tell them apart. Where everybody is refused alike it is ours: the breaker shuts, and no grant is blamed
(tasks/policy/valve.py). Where others go on succeeding it is this grant's alone: it is asked ever more seldom and feeds
no breaker, so that those who live do not wait for those who died. It is not declared dead, for nobody said so.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from tasks.policy.timing import quarter_of

OFTEN_ENOUGH: Final = 3  # refusals, after which asking again soon teaches nothing
LONG_ENOUGH: Final = timedelta(minutes=10)  # for a passing trouble to have passed
SELDOM: Final = timedelta(hours=1)
# Who is ill, asks to come later (RFC 8470 §5.2) or knows no such address: it tells of no secret and of no token. What
# asks to wait is no refusal at all (tasks/policy/limits.py).
_PASSING: Final = re.compile(r"server_error|too.?many.*|http_404|http_425", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Refusals:
    """What is known of a grant that was refused, just now and `before` that in the same word, with no success between.

    `since` is the first of those before. `witnessed`: a request that was begun after it has refreshed another grant.
    `all_refused`: nobody of the client has succeeded since somebody was first refused so. `proven`: something has
    succeeded under the present credentials.
    """

    before: int
    since: datetime | None
    witnessed: bool
    all_refused: bool
    proven: bool


def will_pass(code: str) -> bool:
    """Whether a refusal in this word speaks of the provider's state, and of nobody who asked."""
    return _PASSING.fullmatch(code) is not None


def is_its_own(known: Refusals) -> bool:
    """Whether the refusal is this grant's alone, as far as is known; a first one is, while nobody else is refused."""
    if known.before and known.since is not None:
        return known.witnessed
    return known.proven and not known.all_refused


def wait(known: Refusals, life: timedelta | None, *, at: datetime, at_most: timedelta) -> timedelta:
    """How long a grant that is refused alone is left alone, after a refusal at `at`.

    Twice `at_most`, or a quarter of a shorter life, as a suspect; from the third time on an hour, if the first was ten
    minutes ago. Sooner than that a living one may have been refused by some passing trouble: it is asked again after
    twice the time, and then twice that.
    """
    soon, times = quarter_of(life, at_most=at_most), known.before + 1
    if times < OFTEN_ENOUGH or known.since is None:
        return soon
    return SELDOM if at - known.since >= LONG_ENOUGH else min(soon * 2 ** (times - OFTEN_ENOUGH + 1), SELDOM)


def tries_former_tokens(known: Refusals, *, at: datetime) -> bool:
    """Whether a former token may be what lives: refused alone in one word three times over ten minutes."""
    often = known.before + 1 >= OFTEN_ENOUGH and known.since is not None and at - known.since >= LONG_ENOUGH
    return often and is_its_own(known)


def is_hopeless(known: Refusals, *, at: datetime, horizon: timedelta) -> bool:
    """Whether a human should look: it has been refused alone for as long as the horizon."""
    return known.since is not None and is_its_own(known) and at - known.since >= horizon
