"""What both sides of a demo have done meanwhile: the outcome of an event, in one sentence."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from simulator.control import SimulatorControl
from worker.demo.applications import Applications
from worker.demo.plan import OURS, USUAL

SIDES = (USUAL, OURS)
MOST_REQUESTS = 100_000


class Since:
    """What each side has done since one moment."""

    def __init__(self, provider: SimulatorControl, applications: Applications) -> None:
        self._provider = provider
        self._applications = applications
        self._number = provider.summary()["requests"]["total"]
        self._failed = Counter(applications.failed)

    def requests(self, wanted: Callable[[Mapping[str, Any]], bool], **filters: str) -> dict[str, int]:
        """How many requests of each side were such."""
        asked = self._provider.requests(after=self._number, limit=MOST_REQUESTS, **filters)
        return {side: sum(each["client_id"] == side and wanted(each) for each in asked) for side in SIDES}

    def refused(self) -> dict[str, int]:
        """How many came with a wrong secret."""
        return self.requests(lambda _: True, outcome="invalid_client")

    def calls_in_vain(self) -> str:
        """The sentence on the applications, for whom all of it is done."""
        failed = {side: self._applications.failed[side] - self._failed[side] for side in SIDES}
        return both("API calls without a good token", failed)


def both(what: str, counts: Mapping[str, int]) -> str:
    """A count of both sides, as a sentence."""
    return f"{what}: usual job {counts[USUAL]}, Evergrant {counts[OURS]}."
