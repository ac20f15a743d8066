"""Fixtures for every test: engines shared by the whole run, an empty database and broker for each test."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import structlog
from pydantic import SecretStr
from sqlalchemy import Engine

import settings
from models import database as models_database
from models import installation, migrations
from models.sealing.vault import KeyRing
from tests import dear, polling, shared_engines
from tests.databases import TEMPLATE, Databases
from worker.embedded.engines import Engines
from worker.embedded.home import Home
from worker.embedded.postgres import Postgres
from worker.embedded.valkey import DATABASES, Valkey

# Cores are shared here: how long an example takes says nothing of the code.
hypothesis.settings.register_profile("shared", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("shared")

# A suite that a script runs in the background inherits that SIGINT is ignored, and so would the programs it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What a developer has set for their own Evergrant must not steer a test.
for name in [n for n in os.environ if n.startswith(settings.PREFIX)]:
    del os.environ[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest; every process of a run sorts alike."""
    items[:] = dear.dearest_first(items)


@pytest.fixture(autouse=True)
def usual_logs() -> Iterator[None]:
    """A command that a test runs in this process hushes the logs, which later tests look at."""
    yield
    structlog.reset_defaults()


@dataclass(frozen=True)
class SharedServers:
    """The engines of this run. They are everybody's: never stop, restart or flush them (see `own_engines`)."""

    postgres: Postgres
    valkey: Valkey
    worker_number: int


def _worker_number() -> int:
    """0, 1, … of this xdist process; 0 without xdist."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


@pytest.fixture(scope="session")
def shared_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServers]:
    base = tmp_path_factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with shared_engines.joined(folder) as path:
        home = Home(path)
        servers = SharedServers(Postgres(home), Valkey(home), _worker_number())
        with shared_engines.locked(folder):
            _make_template(servers.postgres)
        yield servers


def _make_template(postgres: Postgres) -> None:
    with postgres.connect() as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [TEMPLATE]).fetchone():
            return
        connection.execute("CREATE DATABASE evergrant_unfinished")
        migrations.upgrade(postgres.url_of("evergrant_unfinished"))
        connection.execute(f"ALTER DATABASE evergrant_unfinished RENAME TO {TEMPLATE}")


@pytest.fixture(scope="session")
def databases(shared_servers: SharedServers) -> Databases:
    """Databases with all migrations applied, of which a test borrows one."""
    return Databases(shared_servers.postgres, f"lent_{shared_servers.worker_number}")


@pytest.fixture
def empty_postgres_url(shared_servers: SharedServers) -> Iterator[str]:
    """URL of a new database without any table of ours."""
    name = f"test_{shared_servers.worker_number}_{time.monotonic_ns()}"
    with shared_servers.postgres.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield shared_servers.postgres.url_of(name)
    with shared_servers.postgres.connect() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def migrated_url(databases: Databases) -> Iterator[str]:
    """URL of a database with all migrations applied and nobody's row, adopted by nobody."""
    with databases.lent() as url:
        yield url


@pytest.fixture
def postgres_url(migrated_url: str) -> str:
    """URL of a database with all migrations applied, adopted under the name `test`."""
    _adopt(migrated_url)
    return migrated_url


def _adopt(url: str) -> None:
    """Remember which database this is, as `evergrant db upgrade` does; a copy of the template was adopted nowhere."""
    engine = models_database.connect(url)
    with engine.begin() as connection:
        installation.adopt(connection, installation.observed(connection, "test"), who="tests")
    engine.dispose()


@pytest.fixture
def broker_url(shared_servers: SharedServers) -> str:
    """URL of an empty numbered database of Valkey, for this test alone."""
    number = shared_servers.worker_number
    assert number < DATABASES
    with shared_servers.valkey.connect(number) as client:
        client.flushdb()
    return shared_servers.valkey.url_of(number)


@pytest.fixture
def adopted(postgres_url: str, broker_url: str, tmp_path: Path) -> Iterator[settings.Settings]:
    """Settings of this test, adopted: new database and broker, a home of its own, both key rings."""
    made = settings.Settings(
        database_url=SecretStr(postgres_url),
        broker_url=SecretStr(broker_url),
        home=tmp_path / "home",
        environment="test",
        incident_seconds=0.001,
        refresh_token_keys=SecretStr(KeyRing.generate_line("r1")),
        access_token_keys=SecretStr(KeyRing.generate_line("a1")),
    )
    made.home.mkdir(mode=0o700)
    before = list(settings._current)
    settings.adopt(made)
    yield made
    models_database.dispose()
    settings._current[:] = before


@pytest.fixture
def database(adopted: settings.Settings) -> Iterator[Engine]:
    """The engine of `models.database`, on this test's own database."""
    engine = models_database.engine()
    yield engine
    engine.dispose()  # by itself: the test may have adopted another database meanwhile


@pytest.fixture
def own_engines(tmp_path: Path) -> Iterator[Engines]:
    """Engines of this test alone, which it may stop, kill and flush."""
    with Engines(tmp_path / "engines") as engines:
        yield engines


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """See tests/polling.py."""
    return polling.eventually
