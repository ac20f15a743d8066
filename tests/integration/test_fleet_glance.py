"""What `status`, metrics and the plan count: the fleet at a glance."""

import pytest
from sqlalchemy import text

from models.database import transaction
from models.views import fleet
from tests.harness import Harness

ENDS = text("""
update evergrant.grants set access_expires_at = clock_timestamp() + cast(:within as interval), keep = :keep
where ref = :ref
""")


def test_what_is_kept_on_demand_neither_lapses_nor_shortens_the_runway(harness: Harness) -> None:
    client = harness.client()
    ends = [("a", "-1 min", "warm"), ("b", "-1 min", "on-demand"), ("c", "15 min", "warm"), ("d", "5 min", "on-demand")]
    with transaction() as connection:
        for ref, within, keep in ends:
            harness.grant(client, ref)
            connection.execute(ENDS, {"ref": ref, "within": within, "keep": keep})
        (row,) = fleet.by_client(connection)

    assert (row["active"], row["lapsed"]) == (4, 1)
    assert (row["ending_10m"], row["ending_20m"], row["ending_40m"]) == (0, 1, 1)
    assert 14 * 60 < row["runway"].total_seconds() <= 15 * 60


@pytest.mark.parametrize(
    ("chore", "done", "adopted", "overdue"),
    [
        ("erase", "4 min", "1 year", False),  # every 10 seconds; less is a slow machine, or a deployment
        ("erase", "6 min", "1 year", True),
        ("shred_dead_grants", "2 h", "1 year", False),  # every hour
        ("shred_dead_grants", "4 h", "1 year", True),
        ("erase", None, "4 min", False),
        ("erase", None, "6 min", True),
    ],
)
def test_a_chore_is_overdue_after_three_of_its_intervals_and_five_minutes(
    harness: Harness, chore: str, done: str | None, adopted: str, overdue: bool
) -> None:
    harness.run(
        "update evergrant.installation set adopted_at = clock_timestamp() - cast(:ago as interval)", ago=adopted
    )
    harness.run("update evergrant.chores set done_at = clock_timestamp() where name <> :chore", chore=chore)
    ago = "update evergrant.chores set done_at = clock_timestamp() - cast(:ago as interval) where name = :chore"
    harness.run(ago, chore=chore, ago=done)
    with transaction() as connection:
        found = [row["name"] for row in fleet.overdue_chores(connection)]
    assert found == ([chore] if overdue else [])
