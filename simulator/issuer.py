"""The issuer: clients, codes and grants under a set of habits, and the one place where pairs are made.

The endpoints work on it; it knows none of them. The same seed and the same calls give the same token strings.
"""

from base64 import urlsafe_b64encode
from random import Random
from typing import Any

from simulator.authorization_code import Code
from simulator.client import Client, UnknownClientError
from simulator.habits import Habits, changed
from simulator.ledger import Grant, Ledger, Pair
from simulator.rotation import rotation_for


class Issuer:
    """What the endpoints share: who is registered, what was issued, and how older tokens end.

    `lifetime_seconds`: life of access tokens of *new* grants; None: they do not expire. `compact_after` bounds the
    memory of long simulations.
    """

    def __init__(
        self,
        habits: Habits | None = None,
        *,
        lifetime_seconds: float | None = 7200.0,
        seed: int = 0,
        compact_after: float | None = None,
    ) -> None:
        self.habits = habits or Habits()
        self.lifetime_seconds = lifetime_seconds
        self.default_orgs: tuple[str, ...] = ("org-1",)
        self.clients: dict[str, Client] = {}
        self.codes: dict[str, Code] = {}
        self.ledger = Ledger(compact_after=compact_after)
        self.rotation = rotation_for(self.habits, self.ledger)
        self._random = Random(seed)

    def change_habits(self, **changes: Any) -> None:
        """Change some habits from now on; pairs issued before keep what already happened to them.

        Raises:
            ValueError: a habit or profile is unknown.
        """
        self.habits = changed(self.habits, **changes)
        self.rotation = rotation_for(self.habits, self.ledger)

    def change_life(self, seconds: float | None, *, of_all: bool = False) -> None:
        """Change the life of access tokens to come: of new grants, or of those that there are as well."""
        self.lifetime_seconds = seconds
        for grant in self.ledger.grants.values() if of_all else ():
            grant.lifetime = seconds

    def register(self, client: Client) -> None:
        """Add a client, or replace the one with the same client_id."""
        self.clients[client.client_id] = client

    def mint(
        self,
        client_id: str,
        ref: str,
        *,
        now: float,
        scope: str = "",
        lifetime_seconds: float | None = None,
        orgs: tuple[str, ...] = (),
    ) -> Pair:
        """Make a grant as if its user had just allowed it, and its first pair.

        Raises:
            UnknownClientError: the client is not registered.
        """
        if client_id not in self.clients:
            raise UnknownClientError(client_id)
        grant = self.ledger.open_grant(
            ref=ref,
            client_id=client_id,
            orgs=orgs or self.default_orgs,
            lifetime=self.lifetime_seconds if lifetime_seconds is None else lifetime_seconds,
            now=now,
        )
        return self.issue(grant, scope=scope or " ".join(self.clients[client_id].scopes), now=now)

    def issue(
        self, grant: Grant, *, scope: str, now: float, parent: Pair | None = None, request: int | None = None
    ) -> Pair:
        """Make the next pair of a grant."""
        shared = parent is not None and not self.rotation.rotates
        return self.ledger.issue(
            grant,
            access_token=self.secret_string(),
            refresh_token=parent.refresh_token if parent and shared else self.secret_string(),
            scope=scope,
            now=now,
            parent=parent,
            request=request,
        )

    def end_by_user(self, ref: str, now: float, client_id: str = "") -> int:
        """End the grants of a ref as its user would, at the provider's own pages; returns how many were."""
        grants = [g for g in self.ledger.by_ref.get(ref, ()) if not client_id or g.client_id == client_id]
        for grant in grants:
            self.ledger.ask_end(grant, now, "user")
            self.ledger.end_grant(grant, now, "revoked by its user")
        return len(grants)

    def secret_string(self) -> str:
        """Make the next random string, of the shape that Doorkeeper gives its tokens."""
        return urlsafe_b64encode(self._random.randbytes(32)).rstrip(b"=").decode()
