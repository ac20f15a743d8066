"""A forgotten psql holds rows of ours: it is named with what ends it, before and while tokens lapse."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from models import database, lock_holder
from tests.integration.cli.evergrant import Evergrant
from tests.polling import eventually
from worker.cli import locks


@contextmanager
def forgotten(statement: str) -> Iterator[int]:
    """A transaction of somebody's that is left open; the pid of its session."""
    url = database.engine().url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, application_name="psql") as connection:
        connection.execute(statement.encode())
        yield connection.info.backend_pid
        connection.rollback()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held for a second is held for very long."""
    monkeypatch.setattr(lock_holder, "LONG", timedelta(seconds=1))


def about_locks(evergrant: Evergrant) -> list[dict[str, Any]]:
    found = evergrant("status", "--json").json["attention"]
    return [each for each in found if "open transaction" in each["what"]]


@pytest.mark.usefixtures("impatient")
def test_whoever_holds_a_clients_valve_is_named_with_what_ends_it(
    at_work: Evergrant, sql: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql("update evergrant.grants set due_at = now() - interval '1 minute', access_expires_at = now() + interval '1h'")
    with forgotten("select from evergrant.valves for update") as pid:
        eventually(lambda: about_locks(at_work))
        (told,) = about_locks(at_work)
        assert told["what"].startswith(f"an open transaction is in the way: process {pid}, psql of ")
        assert "has locks on valves for " in told["what"]
        assert f"select pg_terminate_backend({pid})" in told["next"]
        assert not told["human"]  # it may be somebody at work
        explained = at_work("explain", "a", "--json").json
        assert explained["cause"] == "open_transaction_holds_it"
        assert f"process {pid}" in explained["headline"]
        assert f"select pg_terminate_backend({pid})" in explained["remedy"]
        monkeypatch.setattr(locks, "FORGOTTEN", timedelta(seconds=1))
        assert at_work("status").code == 1
        assert f"process {pid}" in at_work("doctor").out
    assert about_locks(at_work) == []


def test_a_command_that_meets_a_lock_names_who_holds_it(at_work: Evergrant) -> None:
    with forgotten("lock table evergrant.grants in access exclusive mode") as pid:
        eventually(lambda: f"process {pid}" in at_work("status").err)
        done = at_work("status", "--json")
        assert (done.code, done.error) == (75, "locked")
        assert f"(process {pid}, psql of " in done.err
        assert f"select pg_terminate_backend({pid})" in done.err


def test_who_merely_reads_holds_nothing_up(at_work: Evergrant, impatient: None) -> None:
    del impatient
    with forgotten("select pg_sleep(1.5) from evergrant.grants") as _:
        assert about_locks(at_work) == []
