"""The simulated provider in one object, without HTTP: clients, habits, ledger, traffic, and one way in, `handle`.

`now` is always an argument, so a simulation with virtual time can drive it in-process as fast as Python goes. The same
seed and the same calls give the same token strings.
"""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from simulator.answers import Answer, too_many
from simulator.endpoints import authorization, resources, revocation, token
from simulator.habits import Habits, changed
from simulator.ledger import Grant, Ledger, Pair
from simulator.rotation import rotation_for
from simulator.traffic import Request, SlidingWindow, Traffic


@dataclass(slots=True)
class Client:
    """A registration; `redirect_uris` are compared exactly."""

    client_id: str
    secret: str = field(repr=False)
    redirect_uris: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ("crm_read", "crm_manage")
    name: str = ""


@dataclass(slots=True)
class Call:
    """One request as the provider understands it: parameters of body and query, and the two headers that matter."""

    endpoint: str  # token, revoke, token_info, api
    params: Mapping[str, str]
    basic: tuple[str, str] | None = None
    bearer: str = ""
    org: str = ""


class UnknownClientError(ValueError):
    """No client with this client_id is registered at the simulator."""

    def __init__(self, client_id: str) -> None:
        super().__init__(f"no client {client_id!r} is registered; POST it to /_control/clients")


Endpoint = Callable[["SimulatedProvider", Call, Request, float], Answer]

_ENDPOINTS: dict[str, Endpoint] = {
    "token": token.token,
    "revoke": revocation.revoke,
    "token_info": resources.token_info,
    "api": resources.bookings,
}


class SimulatedProvider:
    """An authorization server and the API behind it.

    `lifetime_seconds`: life of access tokens of *new* grants; None: they do not expire. `rate`: requests per minute
    and application; None: no limit. `compact_after` and `keep_requests` bound the memory of long simulations.
    """

    def __init__(
        self,
        habits: Habits | None = None,
        *,
        lifetime_seconds: float | None = 7200.0,
        rate: int | None = None,
        seed: int = 0,
        compact_after: float | None = None,
        keep_requests: int | None = 100_000,
    ) -> None:
        self.habits = habits or Habits()
        self.lifetime_seconds = lifetime_seconds
        self.default_orgs: tuple[str, ...] = ("org-1",)
        self.clients: dict[str, Client] = {}
        self.codes: dict[str, authorization.Code] = {}
        self.ledger = Ledger(compact_after=compact_after)
        self.traffic = Traffic(keep=keep_requests)
        self.limiter = SlidingWindow(rate)
        self.rotation = rotation_for(self.habits, self.ledger)
        self._random = Random(seed)

    def change_habits(self, **changes: Any) -> None:
        """Change some habits from now on; pairs issued before keep what already happened to them.

        Raises:
            ValueError: a habit or profile is unknown.
        """
        self.habits = changed(self.habits, **changes)
        self.rotation = rotation_for(self.habits, self.ledger)

    def register(self, client: Client) -> None:
        """Add a client, or replace the one with the same client_id."""
        self.clients[client.client_id] = client

    def handle(self, call: Call, now: float) -> tuple[Answer, Request]:
        """Answer one request and enter it in the traffic."""
        client_id = self.application(call)
        request = self.traffic.arrived(call.endpoint, client_id, now)
        request.grant_type = call.params.get("grant_type", "") if call.endpoint == "token" else ""
        wait = self.limiter.take(client_id, now)
        answer = too_many(wait) if wait else _ENDPOINTS[call.endpoint](self, call, request, now)
        if self.limiter.limit is not None:
            answer.headers["X-Api-Request-Limit"] = str(self.limiter.limit)
            answer.headers["X-Api-Request-Remaining"] = str(self.limiter.remaining(client_id))
        request.status, request.outcome = answer.status, answer.outcome
        self.traffic.ended(request)
        return answer, request

    def pass_over(self, call: Call, now: float, outcome: str) -> Request:
        """Enter a request that a fault answered before the provider looked at it."""
        request = self.traffic.arrived(call.endpoint, self.application(call), now)
        request.outcome = outcome
        self.traffic.ended(request)
        return request

    def withhold(self, request: Request, now: float, why: str) -> None:
        """Enter that a request's answer, or its refresh token, did not reach the client."""
        request.delivery = why
        if request.issued is not None and (pair := self._pair_of(request)) is not None:
            self.ledger.withhold(pair, now, f"request {request.number}: {why}")

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

    def credentials(self, call: Call) -> tuple[str, str] | None:
        """Read client_id and secret from the header, else from the parameters; None where there is no client_id."""
        if call.basic is not None:
            return call.basic
        client_id = call.params.get("client_id", "")
        return (client_id, call.params.get("client_secret", "")) if client_id else None

    def authenticate(self, credentials: tuple[str, str] | None) -> Client | None:
        """Find the client whose credentials these are."""
        if credentials is None:
            return None
        client = self.clients.get(credentials[0])
        return client if client is not None and client.secret == credentials[1] else None

    def application(self, call: Call) -> str:
        """Say whose request this is, for the rate: the client_id sent, or that of the access token."""
        if call.bearer:
            pair = self.ledger.by_access_token.get(call.bearer)
            return pair.grant.client_id if pair else ""
        credentials = self.credentials(call)
        return credentials[0] if credentials else ""

    def ref_of(self, call: Call) -> str:
        """Say which ref a request is about, from whatever token or code it carries; empty where nothing tells."""
        token = call.bearer or call.params.get("refresh_token") or call.params.get("token") or ""
        if pair := self.ledger.by_refresh_token.get(token) or self.ledger.by_access_token.get(token):
            return pair.grant.ref
        code = self.codes.get(call.params.get("code", ""))
        return code.user if code else ""

    def secret_string(self) -> str:
        """Make the next random string, of the shape that Doorkeeper gives its tokens."""
        return urlsafe_b64encode(self._random.randbytes(32)).rstrip(b"=").decode()

    def _pair_of(self, request: Request) -> Pair | None:
        for grant in self.ledger.by_ref.get(request.ref, ()):
            if request.issued in grant.pairs:
                return grant.pairs[request.issued]
        return None
