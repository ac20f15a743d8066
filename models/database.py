"""The engine (one per process, made after fork) and the transaction."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

import settings
from models import arrays
from models.errors import DatabaseNotConfigured

# Long enough for a claim under load, short enough that a stuck lock is a back-off and not an outage.
# The search path: a role that is called evergrant would have our schema as its default, and alembic miss the tables.
OPTIONS = {
    "timezone": "UTC",
    "search_path": "public",
    "lock_timeout": "10s",
    "statement_timeout": "60s",
    "idle_in_transaction_session_timeout": "60s",
}
SESSION = " ".join(f"-c {name}={value}" for name, value in OPTIONS.items())

# What an execution raises while the database is away.
AWAY = (OperationalError, InterfaceError, PoolTimeoutError)

_lock = threading.Lock()
_engine: tuple[int, str, Engine] | None = None


def engine() -> Engine:
    """The engine of this process; sockets do not survive a fork, so a child makes its own.

    Raises:
        DatabaseNotConfigured: neither a URL nor embedded engines are known.

    """
    global _engine  # noqa: PLW0603  # one engine a process is the point
    secret = settings.current().database_url
    if secret is None:
        raise DatabaseNotConfigured
    with _lock:
        if _engine is None or _engine[:2] != (os.getpid(), secret.get_secret_value()):
            _engine = (os.getpid(), secret.get_secret_value(), connect(secret.get_secret_value()))
        return _engine[2]


def connect(url: str) -> Engine:
    """Make an engine for `url` (`postgresql://…` or `postgres://…`); nothing is opened yet."""
    target = make_url(url).set(drivername="postgresql+psycopg")
    made = create_engine(
        target,
        pool_size=settings.current().database_pool,
        max_overflow=0,
        pool_pre_ping=True,  # after a restart of the database each pooled connection is dead: ask before use
        pool_timeout=30,
        hide_parameters=True,  # an error's text would repeat refs, labels and sealed bytes
        connect_args={
            "application_name": "evergrant",
            "connect_timeout": 10,
            "keepalives_idle": 30,
            "options": SESSION,
        },
    )
    event.listen(made, "connect", lambda connection, _: arrays.register(connection))
    return made


def dispose() -> None:
    """Close every connection of this process; the next use opens new ones."""
    global _engine  # noqa: PLW0603
    with _lock:
        if _engine is not None and _engine[0] == os.getpid():
            _engine[2].dispose()
        _engine = None


@contextmanager
def transaction() -> Iterator[Connection]:
    """One short transaction: commits at the end, rolls back on an exception. Never hold one over HTTP."""
    with engine().begin() as connection:
        yield connection
