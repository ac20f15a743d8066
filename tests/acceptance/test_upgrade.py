"""An upgrade under load: the last release's workers run while its filled database is upgraded, and after it."""

from pathlib import Path

import pytest

from tests.acceptance.conftest import QUICK
from tests.acceptance.installation import Installation
from tests.acceptance.keeping import Disturbance, keep
from tests.acceptance.programs import Running
from tests.acceptance.providers import simulated
from tests.acceptance.releases import checked_out, has_history

GRANTS = 300
LIFETIME = 16.0


@pytest.mark.skipif(not has_history(), reason="the last release is not in this checkout's history")
def test_a_rolling_upgrade_loses_nothing_and_lets_nothing_lapse(
    tmp_path: Path, empty_postgres_url: str, broker_url: str
) -> None:
    after = Installation.prepared(
        tmp_path / "installation", database_url=empty_postgres_url, broker_url=broker_url, **QUICK
    )
    before = after.by(checked_out(tmp_path / "last-release"))
    before.command("db", "upgrade")
    try:
        with simulated("immediate", lifetime=LIFETIME) as provider:
            worker, beat = before.worker(), before.beat()
            seconds = 3 * LIFETIME
            steps = [
                # The migrations first, under the last release's workers: prepared statements and all.
                Disturbance(0.6 * LIFETIME, "the database is upgraded", lambda: _upgrade(after)),
                Disturbance(1.4 * LIFETIME, "this release runs beside it", lambda: _begin(after)),
                Disturbance(1.8 * LIFETIME, "the last release ends", lambda: _end(worker, beat)),
            ]
            (report,) = keep(
                before, {"app": provider}, grants=GRANTS, lifetime=LIFETIME, seconds=seconds, disturbances=steps
            ).values()
        assert report.faults() == [], report.told()
        assert report.refreshes >= 3 * GRANTS
        assert before.rows("select distinct status from evergrant.grants") == [{"status": "active"}]
    finally:
        before.close()


def _upgrade(installation: Installation) -> None:
    installation.command("db", "upgrade")


def _begin(installation: Installation) -> None:
    installation.worker()
    installation.beat()


def _end(*processes: Running) -> None:
    for process in processes:
        process.stop()
