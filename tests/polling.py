"""Wait for what another process does: ask again and again, never sleep blindly."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(predicate: Callable[[], T], timeout: float = 20, every: float = 0.05) -> T:
    """Ask until the answer is true, and return it; after `timeout` seconds fail with the last answer."""
    deadline = time.monotonic() + timeout
    while not (answer := predicate()):
        if time.monotonic() > deadline:
            message = f"still {answer!r} after {timeout} s"
            raise AssertionError(message)
        time.sleep(every)
    return answer
