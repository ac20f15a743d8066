"""Arrays as parameters arrive in PostgreSQL as they were, whatever is in them."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

NOW = datetime(2026, 11, 26, 12, 0, 0, 123_456, tzinfo=UTC)
SOME = UUID("00000000-0000-4000-8000-0000000000ff")
ARRAYS: list[tuple[str, list[Any]]] = [
    ("bytea", [b"", b"\x00'\\\"{},NULL\xff", bytes(300)]),
    ("bytea", [None, b"a", None]),
    ("bytea", [None, None]),
    ("bytea", []),
    ("uuid", [SOME, None, UUID(int=0)]),
    ("uuid", []),
    ("text", ["", "NULL", '{"a"},\\', None]),
    ("bigint", [0, -1, 2**15, 2**31, 2**63 - 1, -(2**63), None]),
    ("bigint", [1]),
    ("timestamptz", [NOW, datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), None]),
    ("timestamptz", [NOW.astimezone(timezone(timedelta(hours=-3.5))), datetime(9999, 12, 31, tzinfo=UTC)]),
    ("interval", [timedelta(0), timedelta(microseconds=-1), timedelta(days=365, seconds=1, microseconds=2), None]),
    ("interval", [timedelta(hours=-25)]),
    ("integer", [[1, 2], [3, 4]]),
]


@pytest.mark.parametrize(("kind", "array"), ARRAYS)
def test_an_array_is_the_same_on_the_other_side(database: Engine, kind: str, array: list[Any]) -> None:
    with database.connect() as connection:
        query = text(f"select cast(:given as {kind}[]) as back, cardinality(cast(:given as {kind}[])) as length")
        row = connection.execute(query, {"given": array}).one()

    assert row.back == array
    assert row.length == sum(len(each) if isinstance(each, list) else 1 for each in array)
