"""Rows as values: named tuples whose fields are named like the columns of a statement."""

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import CursorResult

T = TypeVar("T", bound=tuple[Any, ...])


def made_of(result: CursorResult[Any], kind: type[T]) -> list[T]:
    """Make a value of every row; by place where the columns stand as the fields do: half as dear as by name.

    Args:
        result: of a statement.
        kind: a named tuple.

    """
    named: Any = kind
    names = tuple(result.keys())
    if names == named._fields:
        return [named._make(row) for row in result.all()]
    return [named(**dict(zip(names, row, strict=True))) for row in result]


def arrays_of(rows: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]]:
    """Turn rows of one kind into one array a column, for `unnest`."""
    names: tuple[str, ...] = rows[0]._fields  # type: ignore[attr-defined]  # NamedTuple is no type to name them by
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
