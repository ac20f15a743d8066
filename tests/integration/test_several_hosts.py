"""A database of several hosts: after a fail-over the one that takes writes is found, whichever is named first."""

import socket
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from models import database


def with_first(url: str, first: str, **more: str) -> str:
    """The URL of the tests' server, and another host named before it."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    user, at, _ = parts.netloc.rpartition("@")
    folder = quote(query.pop("host"), safe="")
    return f"postgresql://{user}{at}{first},{folder}{parts.path}?{urlencode(query | more)}"


@pytest.fixture
def nobody() -> str:
    """A host and port that nobody listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


def asked(url: str) -> str:
    engine = database.connect(url)
    try:
        with engine.connect() as connection:
            return str(connection.execute(text("show transaction_read_only")).scalar())
    finally:
        engine.dispose()


def test_the_next_host_is_tried_where_nobody_listens(empty_postgres_url: str, nobody: str) -> None:
    """Two hosts with ports were refused as no URL, though the pages name such for a fail-over."""
    assert asked(with_first(empty_postgres_url, nobody, target_session_attrs="read-write")) == "off"


def test_a_host_that_takes_no_writes_is_passed_by(empty_postgres_url: str, nobody: str) -> None:
    with pytest.raises(OperationalError, match="read-only"):
        asked(with_first(empty_postgres_url, nobody, target_session_attrs="read-only"))


@pytest.mark.parametrize(
    ("hosts", "host", "port"),
    [
        ("db1,db2", "db1,db2", ","),
        ("db1:5432,db2:5433", "db1,db2", "5432,5433"),
        ("[::1]:5432,[fe80::1],10.0.0.1:1", "::1,fe80::1,10.0.0.1", "5432,,1"),
        ("%2Frun%2FPG,db2", "/run/PG,db2", ","),
    ],
)
def test_each_host_has_its_port(hosts: str, host: str, port: str) -> None:
    url, several = database._apart(f"postgres://u:p%2Fw@{hosts}/d?sslmode=require")
    assert several == {"host": host, "port": port}
    assert (url.username, url.password, url.database, url.host) == ("u", "p/w", "d", None)
    assert url.query == {"sslmode": "require"}


def test_one_host_stays_as_it_is() -> None:
    url, several = database._apart("postgresql://u@db1:5433/d")
    assert (url.host, url.port, several) == ("db1", 5433, {})
