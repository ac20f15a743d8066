"""Fixtures: an API over real HTTP, and a fake Evergrant."""

import os
from collections.abc import Iterator

import pytest

from evergrant_client.testing import FakeEvergrant
from tests.api import Api, serving

# What a developer has set for their own Evergrant must not steer a test.
for name in [n for n in os.environ if n.startswith("EVERGRANT_")]:
    del os.environ[name]


@pytest.fixture
def api() -> Iterator[Api]:
    with serving(Api()) as running:
        yield running


@pytest.fixture
def other_api() -> Iterator[Api]:
    """Another host, as far as an HTTP library can tell: another port."""
    with serving(Api()) as running:
        yield running


@pytest.fixture
def evergrant() -> FakeEvergrant:
    """A grant `customer` whose token is `secret`, and `secret-2` after a refresh."""
    return FakeEvergrant({"customer": "secret"})
