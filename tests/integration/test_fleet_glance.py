"""What `status`, metrics and the plan count: the fleet at a glance."""

from sqlalchemy import text

from models import fleet
from models.database import transaction
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
