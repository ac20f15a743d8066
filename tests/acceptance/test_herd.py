"""Many grants with one expiry; with 100 000 of them: `python -m tests.acceptance.herd`."""

from tests.acceptance.herd import run_herd
from tests.acceptance.installation import Installation
from tests.acceptance.providers import simulated


def test_a_herd_with_one_expiry_is_renewed_once_each_within_the_burst(installation: Installation) -> None:
    with simulated("immediate", lifetime=7200) as provider:
        installation.worker()
        installation.beat()
        report = run_herd(installation, provider, grants=1500, seconds=60)
        assert report.faults() == [], report.told()
