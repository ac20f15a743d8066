"""Meters: what this process has done, counted as it is done, and read by whoever serves it as metrics.

Plain numbers in memory, so that no command that merely imports a task pays for a metrics library, and a count costs
well under a microsecond. Labels are clients, outcomes and kinds, never refs: there is no more of them than operators
and this code have named.
"""

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Count:
    """How often something happened, by its labels."""

    name: str
    told: str
    labels: Labels
    seen: Counter[Labels] = field(default_factory=Counter, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def add(self, counts: Mapping[Labels, int]) -> None:
        """Count what was gathered."""
        with self._lock:
            self.seen.update(counts)

    def read(self) -> dict[Labels, int]:
        """The counts now."""
        with self._lock:
            return dict(self.seen)


@dataclass
class Series:
    """One histogram: how many lengths were at most each bound (seconds), the last without one, and their sum."""

    counts: list[int]
    total: float = 0.0


@dataclass(frozen=True)
class Lengths:
    """How long something took, by its labels; `bounds` are seconds, upper ends included."""

    name: str
    told: str
    labels: Labels
    bounds: Sequence[float]
    seen: dict[Labels, Series] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def add(self, lengths: Iterable[tuple[Labels, timedelta]]) -> None:
        """Count what was gathered; less than nothing counts as nothing."""
        with self._lock:
            for labels, length in lengths:
                series = self.seen.get(labels)
                if series is None:
                    series = self.seen[labels] = Series([0] * (len(self.bounds) + 1))
                seconds = max(length.total_seconds(), 0.0)
                series.counts[bisect_left(self.bounds, seconds)] += 1
                series.total += seconds

    def read(self) -> dict[Labels, Series]:
        """The series now."""
        with self._lock:
            return {labels: Series(list(each.counts), each.total) for labels, each in self.seen.items()}


REFRESHES: Final = Count("refreshes", "Refreshes that ended, by what that meant.", ("client", "outcome"))
LIFE_LEFT: Final = Lengths(
    "life_left_at_commit_seconds",
    "What was left of the access token kept warm when the next one was stored; 0: it had ended.",
    ("client",),
    (0, 1, 5, 15, 60, 120, 300, 600, 1200, 1800, 2400, 3600, 7200, 14400, 43200, 86400),
)
LATENESS: Final = Lengths(
    "refresh_lateness_seconds",
    "How long after it was due a refresh of a grant kept warm was begun.",
    ("client",),
    (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400),
)
REVOCATIONS: Final = Lengths(
    "revocation_seconds",
    "From the request of a revocation to its end, by what is known then.",
    ("client", "evidence"),
    (0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400),
)
NOTICES: Final = Count("notices", "Notices of providers that were read, by what became of them.", ("client", "outcome"))
MESSAGES_REFUSED: Final = Count(
    "messages_refused", "What this worker took from the broker and did not heed, by why.", ("reason",)
)
WEBHOOKS: Final = Count(
    "webhook_deliveries", "Tries to tell a webhook of an event, by what came of them.", ("webhook", "outcome")
)
WEBHOOK_SECONDS: Final = Lengths(
    "webhook_delivery_seconds",
    "From an event to the answer of a webhook that has it, earlier tries included.",
    ("webhook",),
    (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600, 86400),
)
CLAIMS: Final = Count("claims", "Jobs that this beat has claimed.", ("kind",))
LOOKS: Final = Count("looks", "Times that this beat has looked for what is due.", ("result",))

OF_WORKER: Final[tuple[Count | Lengths, ...]] = (
    *(REFRESHES, LIFE_LEFT, LATENESS, REVOCATIONS, NOTICES, MESSAGES_REFUSED),
    *(WEBHOOKS, WEBHOOK_SECONDS),
)
OF_BEAT: Final[tuple[Count | Lengths, ...]] = (CLAIMS, LOOKS)
