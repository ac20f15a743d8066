"""A client with Event Temple's kind of limit, and far more due than it allows.

For 46 seconds: no 20 of them may hold more than their share of a minute. Minutes: `python -m tests.acceptance.rating`.
"""

from tests.acceptance.installation import Installation
from tests.acceptance.providers import simulated
from tests.acceptance.rating import overload

RATE = 600
DUE = 1000


def test_a_client_with_1000_due_grants_is_never_over_its_rate_and_recovers_from_429_without_a_storm(
    installation: Installation,
) -> None:
    with simulated("on_use", lifetime=7200, rate=RATE) as provider:
        installation.worker()
        installation.beat()
        report = overload(installation, provider, rate=RATE, due=DUE, seconds=46)
        assert report.faults() == []
        assert provider.presented_twice() == 0
        assert installation.statuses("app") == {"active": DUE}
