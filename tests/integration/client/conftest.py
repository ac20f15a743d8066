"""Fixtures: the client package on the harness's database, as an application with the two roles it needs."""

import secrets
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Self

import pytest
from psycopg.conninfo import make_conninfo

from evergrant_client import Evergrant
from models import roles
from models.database import transaction
from tasks.oauth.answer import Response
from tests.harness import Harness, token_set

LATER = timedelta(hours=1)


@pytest.fixture
def client(harness: Harness) -> int:
    made = harness.client()
    harness.run("update evergrant.valves set credentials_proven_no = 1")
    return made


@pytest.fixture
def dsn(harness: Harness) -> Iterator[str]:
    """A login that may read the view and call the functions, and nothing else."""
    with transaction() as connection:
        roles.apply(connection)
    name, password = f"login_{secrets.token_hex(6)}", secrets.token_hex(8)
    harness.run(f"create role {name} login password '{password}' in role evergrant_reader, evergrant_requester")
    assert harness.settings.database_url is not None
    yield make_conninfo(harness.settings.database_url.get_secret_value(), user=name, password=password)
    harness.run("select pg_terminate_backend(pid) from pg_stat_activity where usename = :name", name=name)
    harness.run(f"drop role {name}")


@pytest.fixture
def keys(harness: Harness) -> str:
    assert harness.settings.access_token_keys is not None
    return harness.settings.access_token_keys.get_secret_value()


@pytest.fixture
def in_environment(dsn: str, keys: str) -> dict[str, str]:
    """Where an application finds Evergrant."""
    return {"EVERGRANT_CLIENT_DSN": dsn, "EVERGRANT_ACCESS_TOKEN_KEYS": keys}


@pytest.fixture
def evergrant(dsn: str, keys: str) -> Iterator[Evergrant]:
    made = Evergrant(dsn=dsn, access_keys=keys)
    yield made
    made.close()


class Refresher:
    """Beat and worker in a thread: whatever is requested is refreshed with the next token set."""

    def __init__(self, harness: Harness, client: int) -> None:
        self._harness = harness
        self._client = client
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.refreshed = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(0.02):
            claimed = self._harness.claim(self._client)
            for attempt in self._harness.start([*claimed.requested, *claimed.due]):
                self.refreshed += 1
                self._harness.settle((attempt, self._next()))

    def _next(self) -> Response:
        return token_set(f"refreshed-{self.refreshed}")


@pytest.fixture
def refresher(harness: Harness, client: int) -> Iterator[Refresher]:
    with Refresher(harness, client) as running:
        yield running
