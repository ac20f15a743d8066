"""What a demo is made of: how many grants, how long they live, how long the story takes. Values only."""

from dataclasses import dataclass, replace
from typing import Self

DEFAULT_SECONDS = 75
LEAST_SECONDS = 45
DEFAULT_GRANTS = 60

LIFE_SECONDS = (22, 23, 24, 25, 26, 27, 28)
"""Lives of access tokens, one grant after the other: else all would be renewed in the same second."""
LEFT_LIFE_SECONDS = 8
LEFT = tuple(f"left-{number}" for number in (1, 2, 3))
"""Customers who left before the demo begins: their grants are paused, and their access tokens have expired."""
REVOKING_USERS = 2

OURS, USUAL = "evergrant", "usual-job"
"""The client_ids of the two sides at the provider."""

# Waits that fit lives of hours must be shorter where a token lives 25 s; everything else is at its default.
DEADLINE_SECONDS = 2.5
STRICT_DEADLINE_SECONDS = 10
"""At the strict provider no worker is killed, so nobody waits for a lease, but a request that a busy machine cuts off
costs the grant. The usual job has as much."""
WAITS = {
    "EVERGRANT_DISPATCH_LEASE_SECONDS": "3",
    "EVERGRANT_BACKOFF_FIRST_SECONDS": "1",
}
WAITS_SENTENCE = (
    "Lives of seconds need shorter waits than lives of hours: a request may take 2.5 s (default 30), an attempt is left"
    " alone for 5.5 s (60), a claim for 3 s (30), the first back-off is 1 s (5)."
)

# Both sides renew at about two thirds of a life. The usual job looks every second: in tokens of 2 h that is every
# 5 minutes, and its margin 43 minutes. Most look less often, with less margin.
USUAL_SCAN_SECONDS = "1"
USUAL_MARGIN_SECONDS = 9.0

COMMAND_SECONDS = 1.2
"""What a command of ours takes at most on a machine that has nothing else to do."""
SLOWEST_PACE = 1.6


@dataclass(frozen=True)
class Plan:
    """One demo; faults take as long as they do, the calm between them is stretched to fill `seconds`.

    `pace`: so many times as long everything takes on a machine that is busy: lives, margins and the story. Programs
    need as much longer to start again there, and nobody would see a fault of theirs in a token that had ended before.
    """

    seconds: int = DEFAULT_SECONDS
    grants: int = DEFAULT_GRANTS
    pace: float = 1

    def on_machine(self, *, command_seconds: float) -> Self:
        """The same where a command takes so long."""
        return replace(self, pace=min(max(command_seconds / COMMAND_SECONDS, 1), SLOWEST_PACE))

    @property
    def lasts_seconds(self) -> float:
        """How long the story takes, about."""
        return self.seconds * self.pace

    @property
    def life_seconds(self) -> tuple[int, int]:
        """The shortest life of an access token, and the longest."""
        return round(LIFE_SECONDS[0] * self.pace), round(LIFE_SECONDS[-1] * self.pace)

    @property
    def lives(self) -> dict[str, int]:
        """The life of each customer's access tokens, in seconds, by ref."""
        count = len(LIFE_SECONDS)
        return {f"customer-{n + 1}": round(LIFE_SECONDS[n % count] * self.pace) for n in range(self.grants)}

    @property
    def usual_margin_seconds(self) -> float:
        """How long before its end the usual job renews a token."""
        return USUAL_MARGIN_SECONDS * self.pace

    @property
    def revoking_users(self) -> list[str]:
        """The customers who revoke their consent at the provider."""
        return list(self.lives)[:REVOKING_USERS]

    @property
    def least_in_flight(self) -> int:
        """How many requests of each side a fault should hit; few grants are seldom renewed at the same time."""
        return max(1, min(self.grants // 20, 3))

    def stretched(self, mark: float) -> float:
        """When something happens that happens at `mark` seconds in a demo of the usual length."""
        return mark * self.lasts_seconds / DEFAULT_SECONDS
