"""The rate limit: which requests of an application are accepted in any 60 seconds."""

from collections import deque

from simulator.traffic import WINDOW_SECONDS


class SlidingWindow:
    """At most `limit` accepted requests in any 60 seconds, per application; refused ones do not count."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._accepted: dict[str, deque[float]] = {}

    def take(self, client_id: str, now: float) -> float:
        """Accept a request, or return the seconds until one would be (0: accepted); nobody's requests are free."""
        if self.limit is None or not client_id:
            return 0.0
        accepted = self._accepted.setdefault(client_id, deque())
        while accepted and accepted[0] <= now - WINDOW_SECONDS:
            accepted.popleft()
        if len(accepted) >= self.limit:
            return accepted[-self.limit] + WINDOW_SECONDS - now if self.limit else WINDOW_SECONDS
        accepted.append(now)
        return 0.0

    def remaining(self, client_id: str) -> int:
        """Count the requests that an application could still send now."""
        return max(0, (self.limit or 0) - len(self._accepted.get(client_id, ())))
