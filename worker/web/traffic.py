"""Traffic of one web: requests by route and status, how long they took, how many wait."""

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

# A waiting request takes as long as it may; what was answered at once is in the first buckets.
SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

disable_created_metrics()  # type: ignore[no-untyped-call]  # when a counter was made is of no use


class Traffic:
    """Counters of one listener's requests."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "evergrant_web_requests",
            "Requests to the token interface by route and status; gone: the asker left before the answer.",
            ["route", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "evergrant_web_request_seconds",
            "How long requests to the token interface took, waiting included.",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        # Made once for each route and status, of which there are few: to look one up costs as much as to count.
        self._made: dict[tuple[str, str], tuple[Counter, Histogram]] = {}

    def count(self, request: web.Request, status: str, seconds: float) -> None:
        """Count one request under its route, which holds no ref."""
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "unknown"
        made = self._made.get((route, status))
        if made is None:
            made = self._requests.labels(route, status), self._seconds.labels(route)
            self._made[route, status] = made
        requests, took = made
        requests.inc()
        took.observe(seconds)
