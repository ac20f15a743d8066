"""Clock: the one reader of clocks. The database's rules due times and leases; these two do what it cannot."""

import time
from datetime import UTC, datetime, timedelta

_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # macOS has no CLOCK_BOOTTIME


def wall() -> datetime:
    """The time of day of this machine: for the journal's stamps and Retry-After dates only."""
    return datetime.now(UTC)


def boot() -> timedelta:
    """Time that also runs while the machine sleeps and never jumps: for leases, which a stopped process outlives."""
    return timedelta(seconds=time.clock_gettime(_BOOT))
