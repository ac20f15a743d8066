"""Any number of beats and workers may run: nothing elects, nothing doubles."""

from tests.acceptance.installation import Installation
from tests.acceptance.keeping import keep
from tests.acceptance.providers import simulated
from tests.polling import eventually

GRANTS = 40


def test_three_beats_send_no_duplicate_and_after_a_while_without_any_the_next_one_catches_up(
    installation: Installation,
) -> None:
    beats = [installation.beat(wait=False) for _ in range(3)]
    installation.worker(wait=False)
    installation.worker()
    with simulated("family", lifetime=10) as provider:
        reports = keep(installation, {"app": provider}, grants=GRANTS, lifetime=10, seconds=16)
        assert reports["app"].faults() == [], reports["app"].told()
        for beat in beats:
            beat.kill()
        eventually(lambda: installation.fresh() == {}, timeout=30)
        installation.beat(wait=False)
        eventually(lambda: installation.fresh() == {"app": GRANTS}, timeout=60)
        assert provider.presented_twice() == 0
        # Not even one that the provider would have refused.
        assert {request["status"] for request in provider.asked()} == {200}
