"""The simulated provider in one object, without HTTP: an issuer, its endpoints and its traffic; one way in, `handle`.

`now` is always an argument, so a simulation with virtual time can drive it in-process as fast as Python goes.
"""

from collections.abc import Callable

from simulator.answers import Answer, too_many
from simulator.call import Call
from simulator.endpoints import introspection, resources, revocation, token
from simulator.habits import Habits
from simulator.issuer import Issuer
from simulator.ledger import Pair
from simulator.rate_limit import SlidingWindow
from simulator.traffic import Request, Traffic

Endpoint = Callable[[Issuer, Call, Request, float], Answer]

_ENDPOINTS: dict[str, Endpoint] = {
    "token": token.token,
    "revoke": revocation.revoke,
    "introspect": introspection.introspect,
    "token_info": resources.token_info,
    "api": resources.bookings,
    "organizations": resources.organizations,
}


class SimulatedProvider(Issuer):
    """An authorization server and the API behind it.

    `rate`: requests per minute and application; None: no limit. `keep_requests` bounds the memory of long
    simulations. The rest is the issuer's.
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
        super().__init__(habits, lifetime_seconds=lifetime_seconds, seed=seed, compact_after=compact_after)
        self.traffic = Traffic(keep=keep_requests)
        self.limiter = SlidingWindow(rate)

    def handle(self, call: Call, now: float) -> tuple[Answer, Request]:
        """Answer one request and enter it in the traffic."""
        client_id = self.application(call)
        request = self.traffic.arrived(call.endpoint, client_id, now)
        request.grant_type = call.params.get("grant_type", "") if call.endpoint == "token" else ""
        wait = self.limiter.take(client_id, now)
        answer = (
            too_many(wait, self.habits.says_too_many) if wait else _ENDPOINTS[call.endpoint](self, call, request, now)
        )
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

    def application(self, call: Call) -> str:
        """Say whose request this is, for the rate: the client_id sent, or that of the access token."""
        if call.bearer:
            pair = self.ledger.by_access_token.get(call.bearer)
            return pair.grant.client_id if pair else ""
        credentials = call.credentials
        return credentials[0] if credentials else ""

    def ref_of(self, call: Call) -> str:
        """Say which ref a request is about, from whatever token or code it carries; empty where nothing tells."""
        text = call.bearer or call.params.get("refresh_token") or call.params.get("token") or ""
        if pair := self.ledger.by_refresh_token.get(text) or self.ledger.by_access_token.get(text):
            return pair.grant.ref
        code = self.codes.get(call.params.get("code", ""))
        return code.user if code else ""

    def _pair_of(self, request: Request) -> Pair | None:
        for grant in self.ledger.by_ref.get(request.ref, ()):
            if request.issued in grant.pairs:
                return grant.pairs[request.issued]
        return None
