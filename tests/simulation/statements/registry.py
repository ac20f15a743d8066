"""Which handler carries out which statement."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import TextClause

from tests.simulation.tables import Row, Tables

Parameters = dict[str, Any]
Handler = Callable[[Tables, Parameters], list[Row] | None]

HANDLERS: dict[str, Handler] = {}
WORDS: list[tuple[str, Handler]] = []
_found: dict[str, Handler | None] = {}


def carries_out(statement: TextClause | str) -> Callable[[Handler], Handler]:
    """Register the handler of a statement that a module of models names."""

    def register(handler: Handler) -> Handler:
        HANDLERS[statement if isinstance(statement, str) else statement.text] = handler
        return handler

    return register


def carries_out_words(words: str) -> Callable[[Handler], Handler]:
    """Register the handler of a statement that a function of models makes itself, by words that only it has."""

    def register(handler: Handler) -> Handler:
        WORDS.append((words, handler))
        return handler

    return register


def by_words(text: str) -> Handler | None:
    """Find the handler of a statement without a name."""
    if text not in _found:
        plain = " ".join(text.split())
        _found[text] = next((handler for words, handler in WORDS if words in plain), None)
    return _found[text]


def at_of(tables: Tables, parameters: Parameters) -> datetime:
    """`coalesce(:now, clock_timestamp())`."""
    now: datetime | None = parameters.get("now")
    return tables.now if now is None else now


def transposed(parameters: Parameters, *names: str) -> list[tuple[Any, ...]]:
    """`unnest` of some arrays."""
    return list(zip(*(parameters[name] for name in names), strict=True))
