"""COMMIT under attack: sent and never answered, or carried out and answered by a reset.

A wrapper notes which step's transaction a thread is in; the COMMIT that ends it is a fail-point.
"""

import select
import socket
import threading
from collections.abc import Callable
from typing import Any

import psycopg
from sqlalchemy.engine.default import DefaultDialect

from tests.crashes.points import Act
from tests.crashes.strike import Striker, freeze, kill

_doing = threading.local()


def begin(step: str) -> None:
    """Say that this thread's transaction is one of a step."""
    _doing.step = step


def doing() -> str | None:
    """The step of this thread's transaction, if it is one that is struck."""
    step: str | None = getattr(_doing, "step", None)
    return step


def _taken() -> str | None:
    step = doing()
    _doing.step = None
    return step


def install(striker: Striker) -> None:
    """Let every COMMIT of this process pass by the fail-points."""
    commit: Callable[[Any, Any], None] = DefaultDialect.do_commit
    rollback: Callable[[Any, Any], None] = DefaultDialect.do_rollback

    def do_commit(dialect: Any, connection: Any) -> None:
        step = _taken()
        if step is not None:
            _hit(striker, step, connection.driver_connection, lambda: commit(dialect, connection))
        commit(dialect, connection)  # where it was done already there is nothing left to commit

    def do_rollback(dialect: Any, connection: Any) -> None:
        _taken()
        rollback(dialect, connection)

    DefaultDialect.do_commit = do_commit  # type: ignore[method-assign]
    DefaultDialect.do_rollback = do_rollback  # type: ignore[method-assign]


def _hit(striker: Striker, step: str, connection: "psycopg.Connection[Any]", commit: Callable[[], None]) -> None:
    def sent_and_killed() -> None:
        _send_commit(connection)
        kill()

    def carried_out_and_frozen() -> None:
        commit()
        freeze()

    means = {
        Act.KILL: sent_and_killed,
        Act.FREEZE: carried_out_and_frozen,
        Act.DATABASE: lambda: _answer_with_a_reset(connection),
    }
    striker.hit(f"{step}.updated")
    striker.hit(f"{step}.commit_sent", **means)


def _send_commit(connection: "psycopg.Connection[Any]") -> None:
    libpq: Any = connection.pgconn
    libpq.send_query(b"COMMIT")
    while libpq.flush():
        select.select([], [libpq.socket], [], 1)


def _answer_with_a_reset(connection: "psycopg.Connection[Any]") -> None:
    """Let the server carry it out; its answer vanishes, and libpq finds the connection closed.

    Raises:
        psycopg.OperationalError: libpq's own.

    """
    _send_commit(connection)
    with socket.socket(fileno=socket.dup(connection.pgconn.socket)) as wire:
        select.select([wire], [], [], 10)
        wire.recv(1 << 16)
        wire.shutdown(socket.SHUT_RDWR)
    libpq: Any = connection.pgconn
    libpq.consume_input()
