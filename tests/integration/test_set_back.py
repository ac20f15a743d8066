"""Set back: what was written while the database's clock was ahead is moved to the clock as it is now."""

from datetime import datetime, timedelta

import pytest

from models import set_back, tick
from models.database import transaction
from models.set_back import LEFT, TABLES
from tests.harness import BUSY, LOST, Harness, token_set

AHEAD = timedelta(hours=3)
MINUTE = timedelta(minutes=1)
INSTANTS = """
select table_name as of, column_name as name, has_column_privilege(format('evergrant.%I', table_name), column_name,
    'update') as ours
from information_schema.columns join information_schema.tables using (table_schema, table_name)
where table_schema = 'evergrant' and table_type = 'BASE TABLE' and data_type = 'timestamp with time zone'
"""


def clock_is_set_back(harness: Harness, by: timedelta = AHEAD) -> None:
    """All that is written lies as far ahead of the clock as if the clock had been there."""
    with transaction() as connection:
        tick.write(connection)
    for row in harness.all(INSTANTS):
        if row["ours"]:
            harness.run(f"update evergrant.{row['of']} set {row['name']} = {row['name']} + :by", by=by)  # noqa: S608


def put_right() -> timedelta | None:
    with transaction() as connection:
        return set_back.put_right(connection)


def near(one: datetime, other: datetime) -> bool:
    return abs(one - other) < MINUTE


def test_every_instant_of_every_table_is_of_one_kind(harness: Harness) -> None:
    there: dict[str, set[str]] = {}
    for row in harness.all(INSTANTS):
        there.setdefault(row["of"], set()).add(row["name"])
    assert {table: instants.all for table, instants in TABLES.items()} == {
        table: names for table, names in there.items() if table not in LEFT
    }
    assert there.keys() >= LEFT
    for instants in TABLES.values():
        kinds = (*instants.was, *instants.to_do, *instants.ends, *instants.left)
        assert len(kinds) == len(instants.all)


def test_a_clock_that_goes_on_and_one_of_another_server_move_nothing(harness: Harness) -> None:
    grant = harness.grant(harness.client())
    before = harness.row(grant)["due_at"]
    with transaction() as connection:
        tick.write(connection)
    assert put_right() is None
    clock_is_set_back(harness, set_back.LEAST / 2)
    assert put_right() is None
    assert harness.row(grant)["due_at"] == before + set_back.LEAST / 2


def test_what_is_due_is_due_again_and_what_happened_happened_when_it_did(harness: Harness) -> None:
    client = harness.client()
    idle = harness.grant(client, "idle", due_in=timedelta(minutes=20))
    failing = harness.grant(client, "failing")
    harness.ask(client, LOST)
    before = {each: harness.row(each) for each in (idle, failing)}
    clock_is_set_back(harness)
    assert harness.claim(client).count == 0
    by = put_right()
    assert by is not None
    assert abs(by - AHEAD) < MINUTE
    names = ("due_at", "access_expires_at", "refreshed_at", "created_at", "failing_since", "doubt_since", "asked_at")
    for each, was in before.items():
        row = harness.row(each)
        assert [name for name in names if row[name] != was[name] and not near(row[name], was[name])] == []
    assert put_right() is None


def test_who_was_under_way_stores_what_was_answered(harness: Harness) -> None:
    client = harness.client()
    grant = harness.grant(client)
    before = harness.row(grant)["generation"]
    attempt = harness.begin(client)
    clock_is_set_back(harness)
    assert put_right() is not None
    assert harness.claim(client).count == 0  # its lease still holds
    harness.settle((attempt, token_set("new")))
    row = harness.row(grant)
    assert harness.token(grant) == "rt-new"
    assert row["generation"] == before + 1
    assert near(row["access_expires_at"], row["refreshed_at"] + timedelta(hours=2))
    assert row["refreshed_at"] <= harness.one("select clock_timestamp() as now")["now"]


def test_who_was_under_way_and_died_is_asked_again_once_its_lease_has_ended(harness: Harness) -> None:
    client = harness.client()
    grant = harness.grant(client)
    harness.begin(client)
    clock_is_set_back(harness)
    assert put_right() is not None
    assert harness.row(grant)["due_at"] - harness.one("select clock_timestamp() as now")["now"] < timedelta(minutes=2)
    harness.until_due(grant)
    assert harness.claim(client).count == 1


def test_a_shut_valve_opens_when_it_would_have(harness: Harness) -> None:
    client = harness.client()
    harness.grant(client)
    harness.ask(client, BUSY)
    paused = harness.valve(client)["paused_until"]
    clock_is_set_back(harness)
    assert put_right() is not None
    valve = harness.valve(client)
    assert valve["paused_until"] is None or near(valve["paused_until"], paused)


@pytest.mark.parametrize("table", ["grants", "valves"])
def test_a_row_that_a_stranger_has_locked_keeps_nobody_waiting(harness: Harness, table: str) -> None:
    client = harness.client()
    grants = harness.grants(client, 3)
    clock_is_set_back(harness)
    with transaction() as connection:
        connection.exec_driver_sql(f"select 1 from evergrant.{table} for update limit 1")  # noqa: S608
        assert put_right() is not None
    moved = [harness.row(each)["due_at"] for each in grants]
    now = harness.one("select clock_timestamp() as now")["now"]
    assert sum(due < now + MINUTE for due in moved) >= len(grants) - 1
