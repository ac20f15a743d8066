"""The twin's engine: connections that understand the product's own statements, and transactions that may fail.

The product's Python runs as it is: it asks `models.database.engine()`, gets this engine, and executes its statements.
Each statement is known by its text and carried out by the handler of tests/simulation/statements, which
tests/integration/test_simulation_twin.py compares with PostgreSQL, row by row. A transaction is carried out in one
instant: row locks are not simulated.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import TextClause
from sqlalchemy.exc import OperationalError

from tests.simulation.statements import HANDLERS, Handler, by_words
from tests.simulation.tables import Row, Tables, Undo

KEPT_COMMITS = 64


class Record:
    """A row as a result gives it: by name and in order."""

    __slots__ = ("_row",)

    def __init__(self, row: Row) -> None:
        self._row = row

    def __getattr__(self, name: str) -> Any:
        return self._row[name]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._row.values())

    def __getitem__(self, place: int) -> Any:
        return list(self._row.values())[place]


class Mappings:
    """Rows as mappings."""

    __slots__ = ("_rows",)

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def all(self) -> list[Row]:
        return self._rows

    def one(self) -> Row:
        (row,) = self._rows
        return row

    def one_or_none(self) -> Row | None:
        return self._rows[0] if self._rows else None


class Result:
    """What a statement returned."""

    __slots__ = ("_rows",)

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[Record]:
        return map(Record, self._rows)

    def keys(self) -> list[str]:
        return list(self._rows[0]) if self._rows else []

    @property
    def rowcount(self) -> int:
        return len(self._rows)

    def all(self) -> list[Record]:
        return list(map(Record, self._rows))

    def one_or_none(self) -> Record | None:
        return Record(self._rows[0]) if self._rows else None

    def mappings(self) -> Mappings:
        return Mappings(self._rows)

    def scalars(self) -> Iterator[Any]:
        return (next(iter(row.values())) for row in self._rows)

    def scalar(self) -> Any:
        return next(iter(self._rows[0].values())) if self._rows else None

    def scalar_one(self) -> Any:
        (row,) = self._rows
        return next(iter(row.values()))


NOTHING = Result([])


class UnknownStatement(BaseException):
    """The twin does not know a statement that the product has executed: write its handler."""


class Connection:
    """A connection of the twin, inside a transaction."""

    def __init__(self, tables: Tables, *, handlers: Mapping[str, Handler] = HANDLERS) -> None:
        self.tables = tables
        self._handlers = handlers

    def execute(self, statement: TextClause, parameters: dict[str, Any] | None = None) -> Result:
        handler = self._handlers.get(statement.text) or by_words(statement.text)
        if handler is None:
            raise UnknownStatement(statement.text)
        rows = handler(self.tables, parameters or {})
        return NOTHING if rows is None else Result(rows)


class Transaction:
    """One transaction of an engine."""

    __slots__ = ("_engine", "_undo")

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._undo: Undo = []

    def __enter__(self) -> Connection:
        engine = self._engine
        engine.hook("begin")
        assert engine.tables.undo is None, "a transaction inside a transaction"
        engine.tables.undo = self._undo
        return engine.connect()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        engine, undo = self._engine, self._undo
        try:
            if kind is None:
                engine.hook("commit")
        except BaseException:
            self._take_back()
            raise
        if kind is not None:
            self._take_back()
            return
        engine.tables.undo = None
        engine.commit()
        if undo:
            engine.commits.append((engine.tables.now, undo))
            engine.on_commit(undo)
        engine.hook("committed")

    def _take_back(self) -> None:
        self._engine.tables.undo = None
        self._engine.tables.take_back(self._undo)
        self._engine.roll_back()


# What may happen around a transaction: `begin`, `commit`, `committed`; a hook may raise.
Hook = Callable[[str], None]


class Engine:
    """Stands where SQLAlchemy's engine stands."""

    def __init__(self, tables: Tables, hook: Hook | None = None) -> None:
        self.tables = tables
        self.hook = hook or (lambda _step: None)
        self.handlers = dict(HANDLERS)
        self.commits: deque[tuple[datetime, Undo]] = deque(maxlen=KEPT_COMMITS)
        self.on_commit: Callable[[Undo], None] = lambda _undo: None

    def begin(self) -> "Transaction":
        """One transaction; whatever is raised inside rolls it back."""
        return Transaction(self)

    def connect(self) -> Connection:
        """Begin a transaction."""
        return Connection(self.tables, handlers=self.handlers)

    def commit(self) -> None:
        """The transaction is durable from here on."""

    def roll_back(self) -> None:
        """The transaction never was."""

    def lose_commits(self, count: int) -> int:
        """Forget the last commits, as a fail-over to an asynchronous standby does; returns how many there were."""
        lost = 0
        while self.commits and lost < count:
            self.tables.take_back(self.commits.pop()[1])
            lost += 1
        return lost

    def dispose(self) -> None:
        """Nothing is open."""


def away() -> OperationalError:
    """What SQLAlchemy raises when the server is gone."""
    return OperationalError("", {}, ConnectionResetError())
