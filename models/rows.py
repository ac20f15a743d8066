"""Rows as values: a dataclass whose fields are named like the columns of a statement."""

from typing import Any, TypeVar

from sqlalchemy import CursorResult

T = TypeVar("T")


def made_of(result: CursorResult[Any], kind: type[T]) -> list[T]:
    """Make a value of every row; by the names of the columns, looked up once and not once a row as a mapping does."""
    names = list(result.keys())
    return [kind(**dict(zip(names, row, strict=True))) for row in result]
