"""The engines of this process (made after fork, one a lane) and the transaction.

A lane has connections of its own, so that what waits for a stranger's lock in one keeps nobody waiting in another: to
start, to settle and to give back needs a connection at once, whoever holds what.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from urllib.parse import unquote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

import settings
from models import arrays
from models.errors import DatabaseNotConfigured


class Lane(StrEnum):
    """What a connection is for."""

    HEART = "heart"  # start, settle, give back, read; commands
    ASKED = "asked"  # what somebody asked for: refresh requests, revocations, erasures
    CHORES = "chores"  # heartbeats and chores; beat's looks
    WEBHOOKS = "webhooks"  # telling webhooks: one connection more, and only in a worker that has some
    PUBLIC = "public"  # the public listener, where strangers come: one connection more, and only in a web that has it


# The search path: a role that is called evergrant would have our schema as its default, and alembic miss the tables.
OPTIONS = {
    "timezone": "UTC",
    "search_path": "public",
    "statement_timeout": "60s",
    "idle_in_transaction_session_timeout": "60s",
}
# Our own transactions hold a lock for milliseconds. Whatever is held for longer is somebody else's: what cannot be had
# now is tried again, and holds neither a connection nor the locks that its transaction has already.
LOCK_TIMEOUTS: Mapping[Lane, str] = {
    Lane.HEART: "1s",
    Lane.ASKED: "200ms",
    Lane.CHORES: "200ms",
    Lane.WEBHOOKS: "1s",
    Lane.PUBLIC: "1s",
}

# What an execution raises while the database is away.
AWAY = (OperationalError, InterfaceError, PoolTimeoutError)
LOCKED = "55P03"  # SQLSTATE: lock_timeout ran out
NO_ROOM = "53200"  # SQLSTATE: out of memory, of the server's table of locks mostly

FEWEST_LANES = 3  # connections; with fewer all lanes share them
OF_THE_POOL = (Lane.HEART, Lane.ASKED, Lane.CHORES)

_lock = threading.Lock()
_engines: dict[Lane, tuple[int, str, Engine]] = {}
_lane: ContextVar[Lane] = ContextVar("lane", default=Lane.HEART)


def connections(lane: Lane) -> int:
    """How many a lane has of those that a process may open: all but one of each other lane are the heart's."""
    most = settings.current().database_pool
    if most < FEWEST_LANES:
        return most
    return most - len(OF_THE_POOL) + 1 if lane is Lane.HEART else 1


@contextmanager
def using(lane: Lane) -> Iterator[None]:
    """Let this thread's transactions use a lane."""
    before = _lane.set(lane)
    try:
        yield
    finally:
        _lane.reset(before)


def engine() -> Engine:
    """The engine of this process for the present lane; sockets do not survive a fork, so a child makes its own.

    Raises:
        DatabaseNotConfigured: neither a URL nor embedded engines are known.

    """
    url = _url()
    lane = _lane.get() if settings.current().database_pool >= FEWEST_LANES else Lane.HEART
    owner = (os.getpid(), url)
    with _lock:
        if lane not in _engines or _engines[lane][:2] != owner:
            _close(lane)
            _engines[lane] = (*owner, connect(url, lane=lane))
        return _engines[lane][2]


def _url() -> str:
    secret = settings.current().database_url
    if secret is None:
        raise DatabaseNotConfigured
    return secret.get_secret_value()


def connect(url: str, *, lane: Lane = Lane.HEART) -> Engine:
    """Make an engine for `url` (`postgresql://…` or `postgres://…`); nothing is opened yet."""
    target, hosts = _apart(url)
    session = OPTIONS | {"lock_timeout": LOCK_TIMEOUTS[lane]}
    made = create_engine(
        target,
        pool_size=connections(lane),
        max_overflow=0,
        pool_pre_ping=True,  # after a restart of the database each pooled connection is dead: ask before use
        pool_timeout=30,
        hide_parameters=True,  # an error's text would repeat refs, labels and sealed bytes
        connect_args=hosts
        | {
            "application_name": "evergrant",
            "connect_timeout": 10,
            "keepalives_idle": 30,
            "options": " ".join(f"-c {name}={value}" for name, value in session.items()),
        },
    )
    event.listen(made, "connect", lambda connection, _: arrays.register(connection))
    return made


def _apart(url: str) -> tuple[URL, dict[str, str]]:
    """A URL, and apart from it the hosts where it names several (`db1:5432,db2:5432`): libpq tries one after another.

    SQLAlchemy reads no list of hosts with ports.
    """
    before, hosts, after = settings.hosts_apart(url)
    several: dict[str, str] = {}
    if "," in hosts:
        names, ports = zip(*map(_host_and_port, hosts.split(",")), strict=True)
        several = {"host": ",".join(names), "port": ",".join(ports)}
        url = before + after
    return make_url(url).set(drivername="postgresql+psycopg"), several


def _host_and_port(text: str) -> tuple[str, str]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):  # no port, or the colon is one of an IPv6 address
        host, port = text, ""
    return unquote(host).removeprefix("[").removesuffix("]"), port


def dispose() -> None:
    """Close every connection of this process; the next use opens new ones."""
    with _lock:
        for lane in list(_engines):
            _close(lane)


def _close(lane: Lane) -> None:
    """Forget a lane's engine, and close its connections if they are this process's: a parent's go on."""
    pid, _, made = _engines.pop(lane, (None, None, None))
    if made is not None and pid == os.getpid():
        made.dispose()


def is_locked(error: BaseException) -> bool:
    """Whether somebody else holds a lock for longer than we wait for one."""
    return _state_of(error) == LOCKED


def is_out_of_room(error: BaseException) -> bool:
    """Whether the server has no room left, which any login can bring about by locks of its own."""
    return _state_of(error) == NO_ROOM


def _state_of(error: BaseException) -> str | None:
    return getattr(getattr(error, "orig", None), "sqlstate", None)


@contextmanager
def transaction() -> Iterator[Connection]:
    """One short transaction: commits at the end, rolls back on an exception. Never hold one over HTTP."""
    with engine().begin() as connection:
        yield connection


@contextmanager
def passing_transaction() -> Iterator[Connection]:
    """One on a connection of its own, closed at the end: for whoever asks seldom, and is to hold none meanwhile."""
    made = connect(_url())
    try:
        with made.begin() as connection:
            yield connection
    finally:
        made.dispose()
