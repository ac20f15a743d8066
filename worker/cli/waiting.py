"""Waiting until something is so, for `--wait` and for a fresh token."""

import time
from collections.abc import Callable
from datetime import timedelta

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0


def wait_until(is_so: Callable[[], bool], *, timeout: timedelta) -> bool:
    """Look again and again until it is so (True) or the time has run out (False)."""
    ends = time.monotonic() + timeout.total_seconds()
    pause = FIRST_PAUSE_SECONDS
    while not is_so():
        left = ends - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
    return True
