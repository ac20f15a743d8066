"""What `Evergrant` needs of whoever holds the grants: the database, the token interface, or a fake."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from evergrant_client.token import Held


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which token is wanted."""

    ref: str
    client: str | None = None
    min_ttl: float = 60.0
    """Seconds that it must live at least."""
    chosen: Mapping[str, str] = field(default_factory=dict)
    """Label → the value that is meant."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a grant is now."""

    generation: int
    held: Held | None
    """The token, where one may be handed out."""
    fresh: bool
    """Whether it lives as long as is wanted."""
    waits_for: str
    """What to listen for: the grant's id."""
    why_not: str = "it is being refreshed"
    hopeless_for: float | None = None
    """Seconds after which it is worth asking again, where no refresh will come by itself."""
    explanation: str | None = None
    """Why the grant is as it is, where somebody says."""


class Source(Protocol):
    """Reads grants and takes requests. Every method may raise the errors of `errors.py`."""

    def read(self, wanted: Wanted, *, wait: float) -> Reading:
        """How the grant is now; a source that can wait for a fresh token does so, `wait` seconds at most."""

    def ask(self, wanted: Wanted, generation: int, *, rejected: bool) -> int:
        """Ask for a token set newer than `generation`, which is too old or was `rejected` by the API.

        Returns the generation to wait for; the same one where no refresh will come.
        """

    def pause(self, reading: Reading, seconds: float) -> None:
        """Wait for news of a grant, `seconds` at most."""

    def request_refresh(self, ref: str, client: str | None, if_generation: int | None) -> int:
        """Ask for an early refresh."""

    def request_revocation(self, request: "RevocationRequest") -> int | None:
        """Ask for a revocation."""

    def connect_url(self, request: "ConnectRequest") -> str:
        """Make a link for a customer's browser."""

    def after_fork(self) -> None:
        """Forget what belongs to the parent process."""

    def close(self) -> None:
        """Let every connection go."""


@dataclass(frozen=True, slots=True)
class RevocationRequest:
    """The arguments of `evergrant.request_revocation`."""

    ref: str
    client: str | None = None
    reason: str | None = None
    idempotency_key: str | None = None
    missing_ok: bool = False
    erase: bool = False


@dataclass(frozen=True, slots=True)
class ConnectRequest:
    """The arguments of `evergrant.request_connect`; nothing said is nothing sent."""

    ref: str
    client: str | None = None
    return_to: str | None = None
    labels: Mapping[str, list[str]] | None = None
    scopes: Sequence[str] | None = None
    locale: str | None = None

    def said(self) -> dict[str, Any]:
        """What was said beside the ref."""
        names = ("client", "return_to", "labels", "scopes", "locale")
        return {name: value for name in names if (value := getattr(self, name)) is not None}
