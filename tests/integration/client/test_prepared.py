"""The client prepares its statement where PostgreSQL itself is at the other end, and nowhere else."""

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from evergrant_client import Evergrant
from evergrant_client.database import Database
from tests.acceptance.cutting import Cutter, Line
from tests.harness import Harness

KEY = re.compile(rb"(K\x00\x00\x00\x0c)[\s\S]{4}")  # BackendKeyData: a session's process id, and its secret
NAMED = b"_pg3_"  # how psycopg names what it prepares


@dataclass
class Between(Cutter):
    """Notes what is asked; `pools`: tells a process id of its own making, as poolers do."""

    pools: bool = False
    asked: bytes = b""

    def _passed(self, line: Line, way: str, onward: socket.socket, data: bytes) -> bool:
        if way == "asked":
            self.asked += data
        elif self.pools:
            data = KEY.sub(lambda found: found[1] + (7).to_bytes(4), data)
        return super()._passed(line, way, onward, data)


Reading = Callable[..., Any]


@pytest.fixture
def reading(harness: Harness, client: int, dsn: str, keys: str) -> Reading:
    """`reading(pools=True)`: a client of which something is in between."""
    for ref in ("a", "b", "c"):
        harness.grant(client, ref)

    @contextmanager
    def made(*, pools: bool) -> Iterator[tuple[Between, Evergrant]]:
        known = conninfo_to_dict(dsn)
        target = Path(str(known["host"])) / f".s.PGSQL.{known.get('port') or 5432}"
        with Between(target, pools=pools) as between:
            through = make_conninfo(dsn, host="127.0.0.1", port=between.port)
            evergrant = Evergrant(dsn=through, access_keys=keys)
            yield between, evergrant
            evergrant.close()

    return made


@pytest.mark.parametrize("pools", [False, True])
def test_a_statement_is_prepared_unless_a_pooler_is_in_between(reading: Reading, *, pools: bool) -> None:
    with reading(pools=pools) as (between, evergrant):
        for ref in ("a", "b", "c"):
            assert evergrant.access_token(ref).value == f"at-{ref}-1"
    assert (NAMED in between.asked) is not pools
    assert between.asked.count(b"from evergrant.access_tokens") == (3 if pools else 1)


def test_a_statement_that_the_session_has_forgotten_is_prepared_again(evergrant: Evergrant, harness: Harness) -> None:
    client = harness.client()
    for ref in ("a", "b"):
        harness.grant(client, ref)
    assert evergrant.access_token("a").value == "at-a-1"
    source = evergrant._source
    assert isinstance(source, Database)
    for connection in source._connections._idle:
        connection.pgconn.exec_(b"deallocate all")  # as a restart of what is in between would
    assert evergrant.access_token("b").value == "at-b-1"
