"""The page of `evergrant status` on narrow and wide terminals."""

from datetime import UTC, datetime

import pytest
from rich.console import Console

from worker.cli.status_view import page

FOUND = {
    "environment": "production",
    "at": datetime(2026, 3, 1, 12, tzinfo=UTC),
    "attention": [],
    "grants": {"active": 299, "paused": 0, "needs_consent": 1, "revoking": 0, "revoked": 12345},
    "due": 31,
    "under_way": 20,
    "failing": 0,
    "in_doubt": 2,
    "suspect": 0,
    "lapsed": 0,
    "expiring": 4,
    "revocations": {"queued": 3},
    "dead_letters": {"refresh": 1},
    "lateness_seconds": 0.4,
    "runway_seconds": 6700.0,
    "ending": {"10m": 0, "20m": 0, "40m": 288},
    "home": "/var/lib/evergrant",
    "database_host": "db.internal:5432",
    "database_name": "evergrant",
    "clients": [],
    "processes": [],
}
FACTS = (
    "active 299",
    "needs consent 1",
    "revoked 12345",
    "under way 20",
    "lapsed 0",
    "expiring 4",
    "dead letters 1",
    "runway 1h 51m",
    "in 40m 288",
)


@pytest.mark.parametrize("width", [30, 70, 200])
def test_no_number_is_parted_from_its_name_however_narrow_the_terminal(width: int) -> None:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(page(FOUND, width=width))
    lines = captured.get().splitlines()
    assert all(any(fact in line for line in lines) for fact in FACTS), "\n".join(lines)
    assert max(len(line.rstrip()) for line in lines) <= width
