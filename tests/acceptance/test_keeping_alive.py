"""Grants stay alive at every kind of provider: renewed in time, and no refresh token presented twice."""

from contextlib import ExitStack

from tests.acceptance.installation import Installation
from tests.acceptance.keeping import Report, keep
from tests.acceptance.providers import Toolkit, simulated

LIFETIME = 12.0
SECONDS = 22.0
GRANTS = 30


def test_grants_stay_alive_at_all_five_rotation_profiles_side_by_side(installation: Installation) -> None:
    rotations = {"none": "none", "on_use": "on_use", "grace": "grace:30", "immediate": "immediate", "family": "family"}
    with ExitStack() as running:
        providers = {
            name: running.enter_context(simulated(rotation, lifetime=LIFETIME)) for name, rotation in rotations.items()
        }
        installation.worker()
        installation.beat()
        reports = keep(installation, providers, grants=GRANTS, lifetime=LIFETIME, seconds=SECONDS)
        assert faults_of(reports) == {}
        assert all(report.refreshes >= 2 * GRANTS for report in reports.values())


def test_grants_stay_alive_at_django_oauth_toolkit(installation: Installation, django_toolkit: Toolkit) -> None:
    installation.worker()
    installation.beat()
    reports = keep(installation, {"toolkit": django_toolkit}, grants=GRANTS, lifetime=LIFETIME, seconds=SECONDS)
    assert faults_of(reports) == {}
    assert reports["toolkit"].refreshes >= 2 * GRANTS
    assert all(tokens == {"refresh": 1, "access": 1} for tokens in django_toolkit.living().values())


def faults_of(reports: dict[str, Report]) -> dict[str, list[str]]:
    return {name: [*faults, report.told()] for name, report in reports.items() if (faults := report.faults())}
