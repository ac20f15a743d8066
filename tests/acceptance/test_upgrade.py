"""An upgrade under load, and one step back: tables first, then process by process; the provider judges."""

from pathlib import Path

import pytest

from tests.acceptance.conftest import QUICK
from tests.acceptance.installation import Installation
from tests.acceptance.releases import checked_out, has_history
from tests.acceptance.upgrading import upgraded_and_taken_back

GRANTS = 100
LIFETIME = 20.0


@pytest.mark.skipif(not has_history(), reason="the last release is not in this checkout's history")
def test_a_rolling_upgrade_and_a_step_back_lose_nothing_and_let_nothing_lapse(
    tmp_path: Path, empty_postgres_url: str, broker_url: str
) -> None:
    after = Installation.prepared(
        tmp_path / "installation", database_url=empty_postgres_url, broker_url=broker_url, **QUICK
    )
    before = after.by(checked_out(tmp_path / "last-release"))
    try:
        report = upgraded_and_taken_back(before, after, grants=GRANTS, lifetime=LIFETIME, profile="immediate")
        assert report.faults() == [], report.told()
        assert report.refreshes >= 3 * GRANTS
        assert before.rows("select distinct status from evergrant.grants") == [{"status": "active"}]
    finally:
        before.close()
