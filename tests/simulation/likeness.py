"""Likeness: the profile of a provider whose file there is, so that an episode plays with its habits, life and words."""

from typing import Any

from simulator.habits import habits_for
from tasks.oauth.provider import BUNDLED, Provider, load
from tasks.oauth.shapes import Auth, Kind
from tests.simulation.profiles import SITE, Profile
from worker.cli.likeness import likeness_of

PREFIX = "like:"
LONGEST_LIFE = 12 * 3600.0  # s; a life of weeks would play years for a few refreshes
# What the file says that an episode takes over; addresses, and how a request is written, are the simulation's own.
TAKEN = (
    *("rotation", "grace_seconds", "after_grace", "until_next_days", "answers", "token_set", "probe"),
    *("revocation", "default_life_seconds", "same_token_above_seconds", "refresh_idle_days", "consent_days"),
)
MAY_LOSE = ("immediate", "family")


def playable() -> list[str]:
    """The bundled providers that an episode can be like: users consent there, and refresh tokens renew."""
    names = sorted(path.stem for path in BUNDLED.glob("*.toml"))
    return [name for name in names if load(name, folder=BUNDLED).kind is Kind.CODE]


def profile_like(name: str) -> Profile:
    """Make the profile of the provider `name`, whose file comes with the product."""
    provider = load(name, folder=BUNDLED)
    like = likeness_of(provider)
    rotation = provider.rotation.value
    habits = habits_for(like.profile, "doorkeeper", **_habits(provider, like.habits))
    return Profile(
        rotation,
        habits,
        _overrides(provider),
        may_lose=rotation in MAY_LOSE,
        says_dead=like.habits.get("says_dead", "400 invalid_grant"),
        life=min(provider.default_life_seconds, LONGEST_LIFE),
    )


def _habits(provider: Provider, habits: dict[str, Any]) -> dict[str, Any]:
    mended = provider.rotation.value == "family"  # as of the simulation's own profile of this kind
    return habits | {"mended_revocation": mended}


def _overrides(provider: Provider) -> dict[str, Any]:
    said = provider.model_dump(mode="json", include={*TAKEN} & provider.model_fields_set)
    return {**said, "auth": Auth.BODY.value, "revoke_url": f"{SITE}/oauth/revoke"}
