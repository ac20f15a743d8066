"""Requests that arrive over the broker: whatever stands in a message, nothing else happens than SQL would allow."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from celery import Celery
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from models.database import transaction
from tasks import upkeep, waiting_requests
from tests.harness import Harness

ODD: dict[str, Any] = {
    "nothing": None,
    "no text": 42,
    "a list": ["customer"],
    "an object": {"$ref": "customer"},
    "a fraction": 1.5,
    "a yes": True,
    "unknown": "nobody",
    "a NUL": "customer\x00",
    "half a surrogate pair": "customer\ud800",
    "another language": "customer'; drop table evergrant.grants; --",
    "endless": "x" * 100_000,
}
ODD_GENERATIONS: dict[str, Any] = {
    "text": "one",
    "huge": 10**40,
    "negative": -1,
    "a fraction": 1.5,
    "of the past": 0,
    "of the future": 7,
}


@pytest.fixture
def client(harness: Harness) -> int:
    return harness.client()


def asked_for(harness: Harness) -> int:
    tables = ("refresh_requests", "revocations", "erasures")
    return sum(len(harness.all(f"select from evergrant.{table}")) for table in tables)


@pytest.mark.parametrize("ref", ODD.values(), ids=ODD)
def test_an_odd_ref_changes_nothing(harness: Harness, client: int, ref: Any) -> None:
    before = harness.picture(harness.grant(client))
    upkeep.request_refresh(ref)
    upkeep.request_revocation(ref)
    upkeep.request_revocation("customer", client=ref if ref is not None else "nobody")
    assert asked_for(harness) == 0
    assert harness.picture(before[0][0]) == before


@pytest.mark.parametrize("generation", ODD_GENERATIONS.values(), ids=ODD_GENERATIONS)
def test_an_odd_generation_changes_nothing(harness: Harness, client: int, generation: Any) -> None:
    harness.grant(client)
    upkeep.request_refresh("customer", if_generation=generation)
    assert asked_for(harness) == 0


def test_a_message_that_came_many_times_asks_once(harness: Harness, client: int) -> None:
    harness.grant(client)
    for _ in range(10):
        upkeep.request_refresh("customer", client="demo")
        upkeep.request_revocation("customer", reason="left")
    assert asked_for(harness) == 2


def test_a_request_waits_for_a_database_that_is_away(
    harness: Harness, client: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.grant(client)
    failures = iter([OperationalError("select", {}, psycopg.OperationalError("gone"))] * 2)

    @contextmanager
    def away_at_first() -> Iterator[Connection]:
        for failure in failures:
            raise failure
        with transaction() as connection:
            yield connection

    monkeypatch.setattr(waiting_requests, "transaction", away_at_first)
    upkeep.request_revocation("customer")
    assert asked_for(harness) == 1


def test_what_a_later_release_says_is_tolerated(harness: Harness, client: int) -> None:
    harness.grant(client)
    upkeep.request_refresh("customer", priority="high", nested={"a": [1]})
    upkeep.request_revocation("customer", missing_ok=True, colour="red")
    upkeep.request_revocation("nobody", missing_ok=True)
    assert asked_for(harness) == 2


def test_an_erasure_travels_too(harness: Harness, client: int) -> None:
    harness.grant(client)
    upkeep.request_revocation("customer", erase=True, idempotency_key="k")
    assert harness.one("select idempotency_key from evergrant.revocations")["idempotency_key"] == "k"
    assert len(harness.all("select from evergrant.erasures")) == 1


def test_no_message_can_name_another_function(harness: Harness, client: int) -> None:
    """The names of the tasks are all that can be called; arguments that collide with ours are only tolerated."""
    grant = harness.grant(client)
    before = harness.picture(grant)
    upkeep.upkeep("drop_everything")
    upkeep.upkeep({"name": "erase"})
    with transaction() as connection:
        assert connection.exec_driver_sql("select count(*) from evergrant.grants").scalar_one() == 1
    assert (asked_for(harness), harness.picture(grant)) == (0, before)


def test_the_tasks_have_the_names_that_applications_send() -> None:
    app = Celery(set_as_current=False)
    assert {"evergrant.request_refresh", "evergrant.request_revocation"} <= set(app.tasks)
