"""Fixtures: an installation on the engines that the whole run shares, or an `up` of its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.installation import Installation
from tests.acceptance.one_machine import OneMachine
from tests.acceptance.providers import Toolkit, toolkit_beside

# Lives are seconds here, so a failing grant is asked again after seconds.
QUICK = {"backoff_first_seconds": "1", "backoff_cap_seconds": "5", "dispatch_lease_seconds": "5"}
SHORT_DEADLINE = {"http_deadline_seconds": "2", "attempt_lease_seconds": "6", "suspect_wait_seconds": "2"}


@pytest.fixture
def installation(tmp_path: Path, migrated_url: str, broker_url: str) -> Iterator[Installation]:
    """An installation without any process yet."""
    made = Installation.made(tmp_path / "installation", database_url=migrated_url, broker_url=broker_url, **QUICK)
    yield made
    made.close()


@pytest.fixture
def swift(tmp_path: Path, migrated_url: str, broker_url: str) -> Iterator[Installation]:
    """An installation whose requests have two seconds, so that what hangs is given up soon."""
    made = Installation.made(
        tmp_path / "swift", database_url=migrated_url, broker_url=broker_url, **QUICK, **SHORT_DEADLINE
    )
    yield made
    made.close()


@pytest.fixture
def one_machine(tmp_path: Path) -> Iterator[OneMachine]:
    """An installation that `evergrant up` runs with two workers, on engines which the test may kill and flush."""
    made = OneMachine.up(tmp_path / "one-machine", workers=2, **QUICK)
    yield made
    made.close()


@pytest.fixture
def django_toolkit(tmp_path: Path, shared_servers: Any) -> Iterator[Toolkit]:
    """django-oauth-toolkit with access tokens of 12 seconds, on a database of its own."""
    with toolkit_beside(shared_servers, tmp_path, lifetime=12) as provider:
        yield provider
