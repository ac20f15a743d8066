"""Revocations race refreshes, and workers are killed (-9) in the middle: nothing that anybody received stays alive."""

from tests.acceptance.installation import Installation
from tests.acceptance.providers import simulated
from tests.acceptance.racing import LIFETIME, race


def test_revocations_that_race_refreshes_end_in_spite_of_killed_workers(installation: Installation) -> None:
    with simulated("on_use", lifetime=LIFETIME) as provider:
        report = race(installation, provider, grants=24, revocations=12, kills=2)
    assert report.faults() == [], report.told()
    assert len(report.ends) == 12
