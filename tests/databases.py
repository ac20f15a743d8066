"""Databases for the tests of one process: each is emptied after its test and lent again.

A new database is some three hundred files that PostgreSQL makes, logs and removes: a quarter of a second of a core,
for a test that writes five rows. Emptying one costs a tenth of that. What a test may have changed beside rows
(tables, functions, rights, the database's own settings) is noticed, and such a database is thrown away.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import psycopg

from worker.embedded.postgres import Postgres

TEMPLATE: Final = "evergrant_template"
# Bytes; a larger one is thrown away, for its statistics would steer plans of later tests.
MOST_GROWN: Final = 4 * 1024 * 1024

_TABLES: Final = """
select format('%I.%I', schemaname, tablename) from pg_tables
where schemaname not in ('pg_catalog', 'information_schema') order by 1
"""
_SEQUENCES: Final = """
select format('select setval(%L, %s, %L)', format('%I.%I', schemaname, sequencename), coalesce(last_value, start_value),
    last_value is not null)
from pg_sequences
"""
_SIZE: Final = """
select sum(pg_relation_size(oid)) from pg_class
where oid >= 16384 and relkind in ('r', 't', 'i')
"""
# Every row of the catalogue that tells of the shape has a new version as soon as it is touched.
_SHAPE: Final = """
select
    (select array_agg(row(oid, relname, relkind, relowner, relacl::text, reloptions, relrowsecurity)::text order by oid)
        from pg_class where oid >= 16384 and relkind <> 't'),
    (select array_agg(row(attrelid, attnum, xmin)::text order by attrelid, attnum) from pg_attribute
        where attrelid >= 16384),
    (select array_agg(row(oid, xmin)::text order by oid) from pg_proc where oid >= 16384),
    (select array_agg(row(oid, xmin)::text order by oid) from pg_constraint),
    (select array_agg(row(oid, xmin)::text order by oid) from pg_trigger),
    (select array_agg(row(oid, xmin)::text order by oid) from pg_rewrite),
    (select array_agg(row(oid, xmin)::text order by oid) from pg_policy),
    (select array_agg(row(oid, xmin)::text order by oid) from pg_event_trigger),
    (select array_agg(row(oid, xmin)::text order by oid) from pg_extension),
    (select array_agg(row(oid, xmin)::text order by oid) from pg_default_acl),
    (select array_agg(row(oid, nspacl::text)::text order by oid) from pg_namespace where nspname !~ '^pg_'),
    (select row(datacl::text, datallowconn, datconnlimit)::text from pg_database where datname = current_database()),
    (select array_agg(setconfig::text order by setrole) from pg_db_role_setting s join pg_database d
        on d.oid = s.setdatabase where d.datname = current_database())
"""
_ALONE: Final = """
select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database()
    and pid <> pg_backend_pid() and backend_type = 'client backend'
"""

Row = tuple[object, ...]


@dataclass(frozen=True)
class Lent:
    """A database, and what it was before anybody used it."""

    name: str
    shape: Row
    emptying: str  # statements
    rows: dict[str, bytes] = field(repr=False)  # of each table that has some from the migrations, as COPY writes them
    size: int

    @classmethod
    def new(cls, postgres: Postgres, name: str) -> "Lent":
        """Make it of the template."""
        with postgres.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        with postgres.connect(name) as connection:
            tables = [str(row[0]) for row in connection.execute(_TABLES)]
            emptying = [f"delete from {table}" for table in tables]  # noqa: S608
            emptying += [str(row[0]) for row in connection.execute(_SEQUENCES)]
            rows = {table: copied for table in tables if (copied := _copied(connection, table))}
            return cls(name, _one(connection, _SHAPE), "; ".join(emptying), rows, _size(connection))

    def emptied(self, postgres: Postgres) -> bool:
        """Make it what it was; False where rows are not all that changed."""
        with postgres.connect(self.name) as connection:
            connection.execute(_ALONE)
            if _one(connection, _SHAPE) != self.shape or _size(connection) > self.size + MOST_GROWN:
                return False
            with connection.transaction():
                connection.execute("set local session_replication_role = replica; set local lock_timeout = '5s'")
                connection.execute(self.emptying.encode())
                for table, copied in self.rows.items():
                    _copy_in(connection, table, copied)
        return True


class Databases:
    """Those of one process of tests."""

    def __init__(self, postgres: Postgres, prefix: str) -> None:
        self._postgres = postgres
        self._prefix = prefix
        self._free: list[Lent] = []

    @contextmanager
    def lent(self) -> Iterator[str]:
        """URL of one with all migrations applied and nobody's row; whoever is still there at the end is sent away."""
        one = self._free.pop() if self._free else Lent.new(self._postgres, f"{self._prefix}_{time.monotonic_ns()}")
        yield self._postgres.url_of(one.name)
        if _done(lambda: one.emptied(self._postgres)):
            self._free.append(one)
        else:
            with self._postgres.connect() as connection:
                connection.execute(f"DROP DATABASE {one.name} WITH (FORCE)")


def _done(emptied: Callable[[], bool]) -> bool:
    try:
        return emptied()
    except psycopg.Error:  # such as a database that its test has shut to everybody
        return False


def _one(connection: psycopg.Connection[Row], query: str) -> Row:
    found = connection.execute(query.encode()).fetchone()
    assert found is not None
    return found


def _size(connection: psycopg.Connection[Row]) -> int:
    return int(str(_one(connection, _SIZE)[0]))


def _copied(connection: psycopg.Connection[Row], table: str) -> bytes:
    with connection.cursor() as cursor, cursor.copy(f"copy {table} to stdout".encode()) as copy:
        return b"".join(map(bytes, copy))


def _copy_in(connection: psycopg.Connection[Row], table: str, copied: bytes) -> None:
    with connection.cursor() as cursor, cursor.copy(f"copy {table} from stdin".encode()) as copy:
        copy.write(copied)
