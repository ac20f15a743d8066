"""Wait for what another process does: ask again and again, never sleep blindly."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

SOON: Final = 0.05
SELDOM: Final = 0.25
PART_OF_THE_WAIT: Final = 1 / 20
LONGEST_PAUSE: Final = 1.0


def eventually(predicate: Callable[[], T], timeout: float = 20, every: float | None = None) -> T:
    """Ask until the answer is true, and return it; after `timeout` seconds fail with the last answer.

    `every`: seconds between two questions, where what is waited for is over soon. Without it the pauses grow with the
    wait, and what is dear to ask is asked half of the time at most: asking takes cores from whoever is waited for.
    """
    begun = time.monotonic()
    while True:
        asked = time.monotonic()
        if answer := predicate():
            return answer
        now = time.monotonic()
        if now > begun + timeout:
            message = f"still {answer!r} after {timeout} s"
            raise AssertionError(message)
        time.sleep(every if every is not None else _pause(waited=now - begun, asking=now - asked))


def _pause(*, waited: float, asking: float) -> float:
    grown = min(max(SOON, waited * PART_OF_THE_WAIT), SELDOM)
    return max(grown, min(asking, LONGEST_PAUSE))
