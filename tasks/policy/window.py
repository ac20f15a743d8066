"""The window of a client in one process: how many of its attempts may be under way at once.

It is told by how long an attempt waits in our own process: from its launch to its first byte, for a turn of the loop
thread and a connection, and from its answer to its commit. How slowly a provider answers is not part of it. A machine
that is short of CPU would otherwise take up a thousand attempts at once, of which few end within their lease: it would
be busy with giving them back and with repeating them, and call its own lateness the provider's. The rule is that of
TCP: grow while all goes well, halve once where it does not (RFC 5681 §3.1).
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

FIRST: Final = 64
LEAST: Final = 16
LATE: Final = timedelta(seconds=2)  # longer than a far provider needs for name, connection and TLS
SHARE_OF_LEASE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Window:
    """`size` requests at once; `halved_at` of the boot clock, None where it never was."""

    size: int = FIRST
    halved_at: timedelta | None = None


FRESH: Final = Window()


def is_late(waited: timedelta, lease: timedelta) -> bool:
    """Whether an attempt has waited in our process for longer than may be."""
    return waited > min(LATE, lease * SHARE_OF_LEASE)


def grown(window: Window, *, most: int) -> Window:
    """The window after a request left in time: larger by one, so it doubles in the time of a request."""
    return window if window.size >= most else replace(window, size=window.size + 1)


def halved(window: Window, *, begun: timedelta, at: timedelta) -> Window:
    """The window after an attempt was late, or could not be sent; once for all that had begun by then.

    Args:
        window: as it is.
        begun: when the attempt began; of the boot clock, as `at`.
        at: now.

    """
    if window.halved_at is not None and begun < window.halved_at:
        return window
    return Window(max(window.size // 2, min(LEAST, window.size)), at)
