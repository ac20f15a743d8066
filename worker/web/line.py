"""Line: a connection to the database that the event loop drives itself: one statement, prepared, its rows in binary.

A thread would cost a read more than the statement does: whoever waits for the interpreter's lock waits up to 5 ms.
"""

import asyncio
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, Protocol

import psycopg
from psycopg import pq
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.types.json import set_json_loads
from sqlalchemy.exc import DBAPIError

from models import arrays
from models.database import Lane, engine, using

NAME: Final = b"evergrant_read"
CANCEL_SECONDS: Final = 2.0


# Few differ: what a client overrides, and labels of one organization. Nobody changes what was read.
_loads = lru_cache(maxsize=1000)(json.loads)


class Statement(Protocol):
    """What a line carries out: parameters as `$1`, all of them in binary."""

    sql: str
    parameters: Sequence[str]


class Line:
    """Used on one loop; a statement at a time."""

    def __init__(self, connection: "psycopg.Connection[Any]", statement: Statement, *, prepared: bool) -> None:
        """`connection`: nobody else's, in autocommit; `prepared`: it knows the statement by name."""
        self._connection = connection
        self._driver = connection.pgconn
        self._statement = statement
        self._prepared = prepared
        self._formats = [pq.Format.BINARY] * len(statement.parameters)
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[list[tuple[Any, ...]]] | None = None
        self._rows: list[tuple[Any, ...]] = []
        self._error: psycopg.Error | None = None
        self._is_writing = False
        self._has_ended = False
        self._driver.nonblocking = 1
        # A copy: libpq closes its own where a connection ends, and the loop would be deaf to the next with its number.
        self._socket = os.dup(self._driver.socket)
        self._loop.add_reader(self._socket, self._came)

    @property
    def is_open(self) -> bool:
        """Whether it may be used again."""
        return not self._has_ended

    async def ask(self, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Carry the statement out, in a transaction of its own; `values`: texts, and sequences of texts or of bytes.

        Raises:
            DBAPIError: what the database says, or that it is gone.

        """
        sent = list(map(_binary, values))
        if self._has_ended:
            raise DBAPIError.instance(None, None, psycopg.OperationalError("it has ended"), psycopg.Error)
        answer: asyncio.Future[list[tuple[Any, ...]]] = self._loop.create_future()
        self._answer, self._rows, self._error = answer, [], None
        try:
            if self._prepared:
                self._driver.send_query_prepared(NAME, sent, self._formats, pq.Format.BINARY)
            else:
                sql = self._statement.sql.encode()
                self._driver.send_query_params(sql, sent, None, self._formats, pq.Format.BINARY)
            self._flush()
        except psycopg.Error as error:
            self._end(error)
        return await answer

    async def cut(self) -> None:
        """End it, and what it carries out; whoever asked is told."""
        if self._has_ended:
            return
        self._loop.remove_reader(self._socket)
        if self._answer is not None:
            with suppress(psycopg.Error):
                await asyncio.to_thread(self._connection.cancel_safe, timeout=CANCEL_SECONDS)
        self._end(psycopg.OperationalError("cut off"))

    def close(self) -> None:
        """End it."""
        self._end(psycopg.OperationalError("closed"))

    # As the socket says

    def _flush(self) -> None:
        """Send what there is to send; the socket may take the rest later."""
        left = self._driver.flush()
        if left and not self._is_writing:
            self._loop.add_writer(self._socket, self._has_room)
        elif self._is_writing and not left:
            self._loop.remove_writer(self._socket)
        self._is_writing = bool(left)

    def _has_room(self) -> None:
        try:
            self._flush()
        except psycopg.Error as error:
            self._end(error)

    def _came(self) -> None:
        try:
            self._driver.consume_input()
            if self._is_writing:
                self._flush()
            while self._answer is not None and not self._driver.is_busy():
                self._take(self._driver.get_result())
        except psycopg.Error as error:
            self._end(error)

    def _take(self, result: pq.abc.PGresult | None) -> None:
        if result is None:
            self._tell()
        elif result.status == pq.ExecStatus.TUPLES_OK:
            transformer = Transformer(self._connection)
            transformer.set_pgresult(result, format=pq.Format.BINARY)
            try:
                self._rows = transformer.load_rows(0, result.ntuples, tuple)
            except psycopg.DataError as error:  # a time that Python cannot tell; the line is as good as before
                self._error = error
        else:
            self._error = error_from_result(result)

    def _tell(self) -> None:
        answer, self._answer = self._answer, None
        if answer is None or answer.done():
            return
        if self._error is None:
            answer.set_result(self._rows)
        else:
            answer.set_exception(DBAPIError.instance(None, None, self._error, psycopg.Error))

    def _end(self, error: psycopg.Error) -> None:
        """It is of no use any more."""
        if not self._has_ended:
            self._has_ended = True
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            os.close(self._socket)
            self._connection.close()
        self._error = self._error or error
        self._tell()


def _binary(value: Any) -> bytes | None:
    match value:
        case None:
            return None
        case str():
            return value.encode()
        case [bytes(), *_]:
            return arrays.of_byte_strings(value)
        case _:
            return arrays.of_texts(value)


def connected(statement: Statement) -> "tuple[psycopg.Connection[Any], bool]":
    """Open a connection that is no pool's, and prepare the statement where that lasts: whether it did. It blocks.

    Raises:
        DBAPIError: the database is away, or has no such tables.

    """
    with using(Lane.HEART):
        borrowed = engine().connect()
    made = borrowed.connection.driver_connection
    assert isinstance(made, psycopg.Connection)  # noqa: S101  # for the type checker
    borrowed.detach()  # it is never given back
    try:
        made.autocommit = True
        set_json_loads(_loads, made)
        prepared = _is_direct(made)
        if prepared:
            _prepare(made, statement)
    except psycopg.Error as error:
        made.close()
        raise DBAPIError.instance(None, None, error, psycopg.Error) from None
    return made, prepared


def _is_direct(connection: "psycopg.Connection[Any]") -> bool:
    """Whether no pooler is in between, which may carry out each statement in another session.

    Such a one tells a process id of its own making, where PostgreSQL tells that of the session.
    """
    found = connection.execute("select pg_backend_pid()").fetchone()
    return found is not None and found[0] == connection.info.backend_pid


def _prepare(connection: "psycopg.Connection[Any]", statement: Statement) -> None:
    result = connection.pgconn.prepare(NAME, statement.sql.encode())
    if result.status != pq.ExecStatus.COMMAND_OK:
        raise error_from_result(result)
