"""An access token as applications get it, and what is remembered of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from evergrant_client.errors import LabelNotChosen

BEARER = "Authorization: Bearer {access_token}"  # RFC 6750 §2.1
# However much is asked for: a token that was just renewed must satisfy it.
LARGEST_SHARE = 3


@dataclass(frozen=True, slots=True)
class Token:
    """An access token; its value is in no repr."""

    value: str = field(repr=False)
    generation: int
    """+1 with every token set of the grant."""
    expires_at: datetime
    """By the clock of Evergrant's database."""
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """What the API wants beside `Authorization`, made from the grant's labels: X-API-ORG."""
    undecided: LabelNotChosen | None = field(default=None, repr=False)
    """Set where a header could not be made, since nobody chose among several labels."""
    api_header: str = field(default=BEARER, kw_only=True)
    """How the API wants the token: `X-Shopify-Access-Token: {access_token}`."""

    def request_headers(self) -> dict[str, str]:
        """Every header that a request to the API needs.

        Raises:
            LabelNotChosen: the grant serves several organizations: pass `org=`.

        """
        if self.undecided is not None:
            raise self.undecided
        name, value = self.presented
        return {name: value, **self.headers}

    @property
    def presented(self) -> tuple[str, str]:
        """The header that presents the token: its name, and its value with the token in it."""
        name, _, value = self.api_header.partition(": ")
        return name, value.replace("{access_token}", self.value)


@dataclass(frozen=True, slots=True)
class Held:
    """A token with what this process knows of its life, by `clock.now()`."""

    token: Token
    ends_at: float
    life: float | None
    read_at: float

    def lasts(self, min_ttl: float, at: float) -> bool:
        """Whether it lives `min_ttl` seconds longer than `at`, or a third of its life where that is less."""
        return self.ends_at - at >= needed(min_ttl, self.life)


def needed(min_ttl: float, life: float | None) -> float:
    """How many seconds a token must live to be handed out; `life` is that of a new one."""
    return min_ttl if life is None else min(min_ttl, life / LARGEST_SHARE)
