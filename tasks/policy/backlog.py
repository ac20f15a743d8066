"""Backlog: grants of a client that are due and wait for its rate, or for its burst; nothing else holds them up."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

LATE: Final = timedelta(seconds=15)  # beat looks every half second: what is due for longer waits for something


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is due of a client whose valve is open. `interval`: between two requests, nothing without a rate."""

    at: datetime
    due: int
    late: timedelta
    under_way: int
    burst: int
    interval: timedelta
    next_slot_at: datetime | None


@dataclass(frozen=True, slots=True)
class Backlog:
    """It waits; `last_turn`: until the last of them has its turn, None: that is for the burst to say."""

    last_turn: timedelta | None


def backlog(now: Waiting) -> Backlog | None:
    """Whether what is due waits for the rate or the burst: for long enough, and its slots are taken as they come."""
    if not now.due or now.late < LATE:
        return None
    if not now.interval:
        return Backlog(None) if now.under_way >= now.burst else None
    slot = max(now.next_slot_at or now.at, now.at)
    if now.next_slot_at is None or now.next_slot_at + 2 * now.interval < now.at:
        return None  # there are slots that nobody takes
    return Backlog(slot - now.at + now.interval * (now.due - 1))
