"""Any number of beats and workers may run: nothing elects, nothing doubles."""

from tests.acceptance.installation import Installation
from tests.acceptance.keeping import keep
from tests.acceptance.providers import simulated


def test_three_beats_and_two_workers_send_no_duplicate(installation: Installation) -> None:
    for _ in range(3):
        installation.beat(wait=False)
    installation.worker(wait=False)
    installation.worker()
    with simulated("family", lifetime=10) as provider:
        reports = keep(installation, {"app": provider}, grants=60, lifetime=10, seconds=20)
        assert reports["app"].faults() == [], reports["app"].told()
        # Not even one that the provider would have refused.
        assert {request["status"] for request in provider.asked()} == {200}
