"""Rows as values: named tuples whose fields are named like the columns of a statement."""

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
