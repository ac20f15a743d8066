"""Waiting until something is so, for `--wait` and for a fresh token."""

import time
from collections.abc import Callable
from datetime import timedelta

from worker.cli.failures import ExitCode, Failure

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


def ran_out(timeout: timedelta, what: str, look: str, *, why: str = "") -> Failure:
    """The failure of a `--wait` that waited long enough; `why` it was in vain, where somebody knows."""
    because = f" ({why})" if why else ""
    return Failure(
        code="timeout",
        message=f"After {timeout.total_seconds():g} s {what} had not ended; the work goes on{because}",
        next_step=f"look with `{look}`, or run it again with a longer --timeout",
        exit_code=ExitCode.TRY_AGAIN,
    )
