"""Traffic: every request with its time, client and outcome, and the ledger's own count of requests in any 60 s.

The count is kept apart from the rate limit (rate_limit.py), so that a test can ask whether a client was ever over its
rate without trusting the thing that limits it.
"""

from collections import Counter, deque
from dataclasses import dataclass, field

WINDOW_SECONDS = 60.0


@dataclass(slots=True, eq=False)
class Request:
    """One request and how it ended."""

    number: int
    at: float
    endpoint: str
    client_id: str
    grant_type: str = ""
    ref: str = ""
    status: int = 0
    outcome: str = ""
    consumed: int | None = None  # number of the pair whose refresh token was spent
    issued: int | None = None  # number of the pair that the answer held
    fault: int | None = None
    delivery: str = "sent"  # or why the answer, or its tokens, cannot have arrived
    path: str = ""  # only of requests to no endpoint


@dataclass(slots=True)
class _Arrivals:
    total: int = 0
    most_in_window: int = 0
    recent: deque[float] = field(default_factory=deque)

    def add(self, now: float) -> None:
        self.total += 1
        recent = self.recent
        recent.append(now)
        horizon = now - WINDOW_SECONDS
        while recent[0] <= horizon:
            recent.popleft()
        self.most_in_window = max(self.most_in_window, len(recent))


class Traffic:
    """The last `keep` requests in full, and counts of all of them."""

    def __init__(self, *, keep: int | None = None) -> None:
        self.requests: deque[Request] = deque(maxlen=keep)
        self.by_endpoint: Counter[str] = Counter()
        self.by_outcome: Counter[str] = Counter()
        self.arrivals: dict[str, _Arrivals] = {}
        self.total = 0

    def arrived(self, endpoint: str, client_id: str, now: float) -> Request:
        """Number a request that came in, and count it for its client, whatever becomes of it.

        Visits to the authorize page are not the client's own requests, so they are no part of its count.
        """
        self.total += 1
        if endpoint != "authorize":
            self._arrivals_of(client_id).add(now)
        request = Request(self.total, now, endpoint, client_id)
        self.requests.append(request)
        return request

    def _arrivals_of(self, client_id: str) -> _Arrivals:
        arrivals = self.arrivals.get(client_id)
        if arrivals is None:
            arrivals = self.arrivals[client_id] = _Arrivals()
        return arrivals

    def ended(self, request: Request) -> None:
        """Count how a request ended."""
        self.by_endpoint[request.endpoint] += 1
        self.by_outcome[request.outcome] += 1
