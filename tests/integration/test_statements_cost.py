"""What keeps the statements of a refresh cheap: values by place, arrays in binary, rows by their id."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.sql.elements import TextClause

from models import attempt, settlement
from models.attempt import Started
from models.database import transaction
from models.settlement import Held
from tests.heart import Heart

NOW = datetime(2026, 11, 26, 12, 0, 0, 123456, tzinfo=UTC)
START: dict[str, Any] = {
    "ids": [uuid4()], "claim_nos": [1], "journal_id": 1, "status": "active", "tick": None, "now": None,
    "environment": "test",
}  # fmt: skip
STORE: dict[str, Any] = {
    "grant_id": [uuid4()], "generation": [1], "sealed_refresh_token": [b"r"], "sealed_access_token": [b"a"],
    "refresh_fingerprint": [b"f"], "scope": ["s"], "life": [timedelta(hours=2)], "started_at": [NOW], "due_at": [NOW],
    "credentials_no": [1], "sent": [b"f"], "now": None,
}  # fmt: skip


def test_the_columns_of_a_start_stand_as_the_fields_of_its_value(heart: Heart) -> None:
    with transaction() as connection:
        assert tuple(connection.execute(attempt.START, START).keys()) == Started._fields


def test_the_columns_of_a_held_row_stand_as_the_fields_of_its_value(heart: Heart) -> None:
    with transaction() as connection:
        assert tuple(connection.execute(settlement.READ, {"ids": [uuid4()], "now": None}).keys()) == Held._fields


@pytest.mark.parametrize(
    ("statement", "parameters"), [(attempt.START, START), (settlement.STORE, STORE)], ids=["start", "store"]
)
def test_all_that_is_under_way_is_not_read_for_a_few_rows_of_it(
    heart: Heart, statement: TextClause, parameters: dict[str, Any]
) -> None:
    """PostgreSQL took the index of what is under way for the smallest way to them: it holds a whole burst."""
    heart.grant(heart.client())
    with transaction() as connection:
        connection.execute(text("set local enable_seqscan = off"))
        plan = "\n".join(connection.execute(text(f"explain {statement.text}"), parameters).scalars())

    assert "pk_grants" in plan
    assert "ix_grants_under_way" not in plan


ARRAYS: dict[str, list[Any]] = {
    "bigint": [0, -1, 1, 2**15, 2**31, 2**63 - 1, -(2**63), None],
    "timestamptz": [
        NOW,
        datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        NOW.astimezone(timezone(timedelta(hours=-3.5))),
        datetime(9999, 12, 31, tzinfo=UTC),
        None,
    ],
    "interval": [
        timedelta(0), timedelta(microseconds=-1), timedelta(days=365, seconds=1, microseconds=2), timedelta(hours=-25),
        None,
    ],
    "uuid": [UUID(int=0), uuid4(), None],
    "bytea": [b"", b"\x00'\\\"{},", None],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "values"), ARRAYS.items(), ids=ARRAYS)
def test_an_array_arrives_as_it_was_whatever_is_in_it(heart: Heart, kind: str, values: list[Any]) -> None:
    with transaction() as connection:
        query = text(f"select * from unnest(cast(:values as {kind}[]))")  # noqa: S608  # a kind of ours
        assert list(connection.execute(query, {"values": values}).scalars()) == values
        assert list(connection.execute(query, {"values": values[:1]}).scalars()) == values[:1]
