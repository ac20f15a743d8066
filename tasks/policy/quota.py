"""Quota: how many requests are left, as some providers say in a header of every answer, and what follows from that."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from math import ceil
from typing import Final

from tasks.policy.valve import Valve

SCARCE_FOR: Final = timedelta(minutes=1)  # most providers count by the minute, and an idle client hears nothing new
SCARCE_SHARE: Final = 0.5  # of our pace while few are left
MOST_LEFT: Final = 2**31 - 1
MOST_DIGITS: Final = 12
DIGITS: Final = "0123456789"


def left(headers: Mapping[str, str], header: str | None) -> int | None:
    """How many requests are left, by a header such as `57` or `57;w=60`; None: it was not said.

    `headers` have lower-case names.
    """
    if header is None:
        return None
    told = headers.get(header.lower(), "").strip()
    number = told.removeprefix("-")
    length = next((at for at, sign in enumerate(number) if sign not in DIGITS), len(number))
    if not length:
        return None
    return 0 if told != number else min(int(number[:length][:MOST_DIGITS]), MOST_LEFT)


def scarce_for(remaining: int, *, least: int) -> timedelta | None:
    """For how long so few are a reason to go slowly, unless the header rises before; None: they are none."""
    return SCARCE_FOR if remaining <= least else None


def at_share(valve: Valve, share: float) -> Valve:
    """The valve at a share of its pace: of its rate, or where it has none of what may be under way at once."""
    if valve.rate_per_minute is not None:
        return replace(valve, rate_per_minute=valve.rate_per_minute * share)
    return replace(valve, burst=max(1, ceil(valve.burst * share)))
