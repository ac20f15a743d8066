"""The five rotation profiles, as the provider behaves and as our client is set up for it."""

from dataclasses import dataclass, field
from typing import Any

from simulator.habits import Habits, habits_for

SITE = "https://provider.example"


@dataclass(frozen=True)
class Profile:
    """One kind of provider."""

    name: str
    habits: Habits
    overrides: dict[str, Any] = field(default_factory=dict)
    may_lose: bool = False  # a lost answer is a lost grant
    says_dead: str | None = None  # as its provider's file says; None: the weather draws it
    life: float | None = None  # s, of an access token; None: the weather's

    @property
    def settings(self) -> dict[str, Any]:
        """What our client says of the provider."""
        return {
            "rotation": self.name,
            "token_url": f"{SITE}/oauth/token",
            "revoke_url": f"{SITE}/oauth/revoke",
            "api_url": f"{SITE}/v2/bookings",
            "body": "json",
            "headers": {"X-API-ORG": "{org}"},
            **self.overrides,
        }


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("none", habits_for("none")),
        Profile("on_use", habits_for("on_use"), {"revocation": "token", "probe": True}),
        Profile("grace", habits_for("grace:120"), {"grace_seconds": 120}),
        Profile("immediate", habits_for("immediate"), {"revocation": "token", "probe": True}, may_lose=True),
        Profile("family", habits_for("family", mended_revocation=True), may_lose=True),
    )
}
