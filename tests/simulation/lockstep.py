"""The twin and PostgreSQL in lockstep: every statement of an episode is carried out by both, and compared.

PostgreSQL is given the virtual time: an unqualified `clock_timestamp()` finds ours first, and so do column defaults.
What a statement returned and what every table then holds must be the same; only ids of rows that nobody asked for and
the order of rows are free.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy
from sqlalchemy import TextClause, text

from models import claim
from tests.simulation import database as twin
from tests.simulation.tables import Row, Tables

CLAIMS = {
    each.text
    for each in (
        claim.DUE, claim.FAILING, claim.CANARY, claim.WITNESS, claim.REPEATS, claim.REQUESTED, claim.REVOCATIONS
    )
}  # fmt: skip

EVERY = 25  # commits, between two looks at every row
OUR_TIME = """
create schema simulated;
create function simulated.clock_timestamp() returns timestamptz language sql stable
as $$ select current_setting('simulated.now')::timestamptz $$;
do $$
declare each record;
begin
    for each in select table_name, column_name from information_schema.columns
        where table_schema = 'evergrant' and column_default like 'clock_timestamp%'
    loop
        execute format('alter table evergrant.%I alter %I set default simulated.clock_timestamp()',
            each.table_name, each.column_name);
    end loop;
end $$;
truncate evergrant.clients, evergrant.valves, evergrant.witnesses, evergrant.grants, evergrant.chores,
    evergrant.journals
restart identity cascade;
update evergrant.installation set environment = 'simulation';
"""
AS_OF = text(
    "select set_config('search_path', 'simulated, pg_catalog, public', true), set_config('simulated.now', :now, true)"
)
# Tables that both have, with the twin's rows; what only one of them keeps is not compared.
COMPARED = (
    "clients",
    "valves",
    "witnesses",
    "grants",
    "former_tokens",
    "refresh_requests",
    "revocations",
    "dead_letters",
    "journals",
)
# A debit divides an interval: there PostgreSQL and Python round the last microsecond differently.
FREE = {
    "valves": {"next_slot_at"},
    "dead_letters": {"id"},
    "grants": {"labels"},
    "clients": {"overrides", "created_at"},
}


class Differs(BaseException):
    """The twin and PostgreSQL do not agree: on what, rows that only PostgreSQL has, rows that only the twin has."""


class Lockstep(twin.Engine):
    """The twin's engine, with PostgreSQL beside it."""

    def __init__(self, tables: Tables, hook: twin.Hook, engine: sqlalchemy.Engine) -> None:
        super().__init__(tables, hook)
        self.theirs = engine.connect()
        self.statements = 0
        self.nudges = 0
        self.commits_made = 0

    def prepare(self) -> None:
        """Give PostgreSQL our time and the rows that the episode began with."""
        connection = self.theirs
        connection.execute(text(OUR_TIME))
        self.tables.timeline = connection.execute(text("select timeline from evergrant.installation")).scalar_one()
        self.tables.installation[1]["timeline"] = self.tables.timeline
        self._as_of(connection)
        for name in ("clients", "valves", "chores"):
            for row in getattr(self.tables, name).values():
                _insert(connection, name, row)
        connection.commit()

    def _as_of(self, connection: sqlalchemy.Connection) -> None:
        connection.execute(AS_OF, {"now": self.tables.now.isoformat()})

    def connect(self) -> twin.Connection:
        self._as_of(self.theirs)
        return Pair(self, self.theirs)

    def commit(self) -> None:
        self.commits_made += 1
        if self.commits_made % EVERY == 0:
            self.compare()
        self.theirs.commit()

    def roll_back(self) -> None:
        self.theirs.rollback()

    def compare(self) -> None:
        """Compare every row of every table."""
        for name in COMPARED:
            rows = self.theirs.execute(text(f"select * from evergrant.{name}")).mappings()  # noqa: S608
            _same(name, [dict(row) for row in rows], list(_rows(self.tables, name)), FREE.get(name, set()))


class Pair(twin.Connection):
    """One transaction on both."""

    def __init__(self, engine: Lockstep, theirs: sqlalchemy.Connection) -> None:
        super().__init__(engine.tables, handlers=engine.handlers)
        self.engine = engine
        self.theirs = theirs

    def execute(self, statement: TextClause, parameters: dict[str, Any] | None = None) -> twin.Result:
        result = super().execute(statement, parameters)
        answer = self.theirs.execute(statement, parameters or {})
        rows = [dict(row) for row in answer.mappings()] if answer.returns_rows else []
        self.engine.statements += 1
        ours = result.mappings().all()
        if ours or _asks(statement.text):
            _same(statement.text, rows, ours, {"labels", "overrides", "next_slot_at"}, by_place=True)
        if statement.text in CLAIMS:
            self._nudge([row["id"] for row in ours])
        return result

    def _nudge(self, ids: list[Any]) -> None:
        """Let no two rows be due at the same instant: between equals PostgreSQL may choose as it likes."""
        for grant_id in ids:
            self.engine.nudges += 1
            by = timedelta(microseconds=self.engine.nudges % 997)
            grant = self.tables.grants[grant_id]
            self.tables.change(grant, due_at=grant["due_at"] + by)
            query = text("update evergrant.grants set due_at = due_at + :by where id = :id")
            self.theirs.execute(query, {"id": grant_id, "by": by})


def _asks(statement: str) -> bool:
    return "returning" in statement or statement.lstrip().startswith("select")


def _rows(tables: Tables, name: str) -> Iterator[Row]:
    match name:
        case "former_tokens":
            for rows in tables.former.values():
                yield from rows.values()
        case "refresh_requests":
            yield from tables.refresh_requests.values()
        case "dead_letters":
            yield from tables.letters.values()
        case _:
            yield from getattr(tables, name).values()


def _same(what: str, theirs: list[Row], ours: list[Row], free: set[str], *, by_place: bool = False) -> None:
    """Compare rows as a bag, by the columns that the twin keeps."""
    if by_place and any(word in what for word in ("pg_notify", "lock table", "setval", "set_config")):
        return
    left, right = (sorted(_shown(row, free, ours, by_place=by_place) for row in rows) for rows in (theirs, ours))
    if left != right:
        only = [each for each in left if each not in right], [each for each in right if each not in left]
        raise Differs(what, *_apart(only[0][:3], only[1][:3]))


def _apart(theirs: list[str], ours: list[str]) -> list[tuple[str, str]]:
    """Where two rows differ, if it is one row each."""
    if len(theirs) != 1 or len(ours) != 1:
        return list(zip(theirs, ours, strict=False))
    columns = zip(theirs[0].split("), ("), ours[0].split("), ("), strict=False)
    return [(left, right) for left, right in columns if left != right]


def _shown(row: Row, free: set[str], ours: list[Row], *, by_place: bool) -> str:
    if by_place and len(row) == 1:
        return repr([_plain(value) for value in row.values()])
    names = [name for name in sorted(ours[0] if ours else row) if name not in free]
    return repr([(name, _plain(row[name])) for name in names])


def _plain(value: Any) -> Any:
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):  # JSON: PostgreSQL has an order of its own
        return {key: _plain(each) for key, each in sorted(value.items())}
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, int):
        return value if isinstance(value, bool) else int(value)
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value


def _insert(connection: sqlalchemy.Connection, name: str, row: Row) -> None:
    values = {key: json.dumps(value) if isinstance(value, dict) else value for key, value in row.items()}
    columns = ", ".join(values)
    places = ", ".join(f"cast(:{key} as jsonb)" if isinstance(row[key], dict) else f":{key}" for key in values)
    overriding = "overriding system value" if name == "clients" else ""
    connection.execute(text(f"insert into evergrant.{name} ({columns}) {overriding} values ({places})"), values)  # noqa: S608
