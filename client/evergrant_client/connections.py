"""A few connections to Evergrant's database, made when needed and kept for the next."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.rows import dict_row

from evergrant_client.errors import Unreachable
from evergrant_client.statements import first_line

T = TypeVar("T")
Work = Callable[["psycopg.Connection[dict[str, Any]]"], T]

MOST = 4
CONNECT_SECONDS = 5
TURN_SECONDS = 10.0
STALE = ("26000", "0A000")  # a prepared statement that the session has no more, or that shows other columns now


class Connections:
    """At most four at once in this process; one that the server has closed is replaced."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._idle: list[psycopg.Connection[dict[str, Any]]] = []
        self._turns = threading.BoundedSemaphore(MOST)

    def run(self, work: Work[T]) -> T:
        """Carry out `work` with a connection in autocommit; once more where the one kept turns out to be dead.

        Raises:
            Unreachable: the database does not answer.

        """
        with self._turn():
            kept = self._take()
            if kept is not None:
                try:
                    return self._use(kept, work)
                except psycopg.Error as error:
                    if error.sqlstate in STALE:
                        kept.close()
                    if not kept.closed:
                        raise
            try:
                return self._use(self.connect(), work)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                if error.sqlstate is not None and not error.sqlstate.startswith(("08", "57P", "53")):
                    raise
                message = f"Evergrant's database does not answer ({first_line(error)})"
                raise Unreachable(message) from error

    def connect(self) -> "psycopg.Connection[dict[str, Any]]":
        """Open one more."""
        made = psycopg.connect(
            self._dsn,
            autocommit=True,
            row_factory=dict_row,
            prepare_threshold=None,
            connect_timeout=CONNECT_SECONDS,
            application_name="evergrant-client",
        )
        try:
            if _is_direct(made):
                made.prepare_threshold = 0
        except psycopg.Error:
            made.close()
            raise
        return made

    def close(self) -> None:
        """Close what is idle."""
        while (connection := self._take()) is not None:
            connection.close()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._turns.acquire(timeout=TURN_SECONDS):
            message = "Every connection of this process to Evergrant's database is busy"
            raise Unreachable(message, 1.0)
        try:
            yield
        finally:
            self._turns.release()

    def _use(self, connection: "psycopg.Connection[dict[str, Any]]", work: Work[T]) -> T:
        try:
            return work(connection)
        finally:
            if not connection.closed:
                self._idle.append(connection)

    def _take(self) -> "psycopg.Connection[dict[str, Any]] | None":
        try:
            return self._idle.pop()
        except IndexError:
            return None


def _is_direct(connection: "psycopg.Connection[Any]") -> bool:
    """Whether the server itself is at the other end, and knows tomorrow what was prepared today.

    A pooler in transaction mode hands each statement to another session. It has a process id of its own making to tell,
    where PostgreSQL tells that of the session.
    """
    row = connection.execute("select pg_backend_pid() as pid").fetchone()
    return row is not None and row["pid"] == connection.info.backend_pid
