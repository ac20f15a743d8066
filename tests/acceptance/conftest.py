"""Fixtures: an installation on the engines that the whole run shares, or on engines that the test may kill."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.installation import Installation
from tests.acceptance.providers import Toolkit, toolkit
from worker.embedded.engines import Engines

# Lives are seconds here, so a failing grant is asked again after seconds.
QUICK = {"backoff_first_seconds": "1", "backoff_cap_seconds": "5", "dispatch_lease_seconds": "8"}


@pytest.fixture
def installation(tmp_path: Path, empty_postgres_url: str, broker_url: str) -> Iterator[Installation]:
    """An installation without any process yet."""
    made = Installation(tmp_path / "installation", database_url=empty_postgres_url, broker_url=broker_url, **QUICK)
    yield made
    made.close()


@pytest.fixture
def lone_installation(tmp_path: Path, own_engines: Engines) -> Iterator[Installation]:
    """One on engines of its own (`own_engines`), which the test may kill and flush."""
    made = Installation(
        tmp_path / "installation",
        database_url=own_engines.database_url or "",
        broker_url=own_engines.broker_url or "",
        **QUICK,
    )
    yield made
    made.close()


@pytest.fixture
def django_toolkit(tmp_path: Path, shared_servers: Any) -> Iterator[Toolkit]:
    """django-oauth-toolkit with access tokens of 12 seconds, on a database of its own."""
    name = f"toolkit_{os.getpid()}_{time.monotonic_ns()}"
    with shared_servers.postgres.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}")
    with toolkit(tmp_path, database_url=shared_servers.postgres.url_of(name), lifetime=12) as provider:
        yield provider
    with shared_servers.postgres.connect() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
