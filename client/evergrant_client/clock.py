"""The one reader of the clock: seconds that pass also while the machine sleeps."""

import time


def now() -> float:
    """Seconds since some moment; only differences mean something."""
    # Linux: CLOCK_MONOTONIC stands still while the machine is suspended, and the tokens do not.
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)
