"""A full disk under a home is the first thing told, by whatever then does not answer: it is seen without asking any."""

import socket
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

import settings
from tasks.runtime import disk
from tests.brokers import connect
from tests.integration.cli.evergrant import Evergrant

NOWHERE = SecretStr("postgresql+psycopg://x:hush@127.0.0.1:1/x")


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home, whose disk counts as full: nobody has as much room as is asked for."""
    monkeypatch.setattr(disk, "LEAST_ROOM", 2**62)
    return settings.current().home


def test_status_explain_and_doctor_name_it_before_the_processes_that_died_of_it(
    at_work: Evergrant, sql: Any, full: Path
) -> None:
    sql("delete from evergrant.processes")
    status = at_work("status", "--json").json
    assert status["full_disk"].startswith("the disk is full: ")
    assert status["attention"][0]["what"] == status["full_disk"]
    assert str(full) in status["full_disk"]
    assert status["attention"][0]["next"].startswith("make room on /")
    assert "no beat is alive" in status["attention"][1]["what"]
    explained = at_work("explain", "a", "--json").json
    assert explained["cause"] == "disk_is_full"
    assert explained["chain"][0]["cause"] == "no_beat_is_alive"
    doctor = at_work("doctor", "--json").lines
    assert [each["check"] for each in doctor if each["finding"].startswith("the disk is full")] == ["disk"]
    assert doctor[0]["check"] == "disk"


@pytest.mark.parametrize("command", [("status",), ("doctor",), ("explain", "a")])
def test_it_is_told_where_the_database_does_not_answer_and_its_url_is_not_blamed(
    at_work: Evergrant, full: Path, command: tuple[str, ...]
) -> None:
    settings.adopt(settings.current().model_copy(update={"database_url": NOWHERE}))
    done = at_work(*command)
    assert done.code == 75
    assert done.err.startswith("evergrant: The disk is full: ")
    assert "make room on /" in done.err
    assert "EVERGRANT_DATABASE_URL" not in done.err
    assert at_work(*command, "--json").error == "database_away"
    assert full.exists()


def test_where_there_is_room_the_database_alone_is_told(at_work: Evergrant) -> None:
    settings.adopt(settings.current().model_copy(update={"database_url": NOWHERE}))
    done = at_work("status")
    assert done.err.startswith("evergrant: The database did not answer")


def test_a_worker_whose_journal_has_no_room_is_told_though_it_goes_on(at_work: Evergrant, sql: Any) -> None:
    sql("update evergrant.processes set disk_free = 500000, host = 'far' where kind = 'worker'")
    (told,) = at_work("status", "--json").json["attention"]
    assert told["what"] == "worker 1 on far has 0 MiB left for its journal"
    assert told["human"]
    assert at_work("status").code == 1
    (found,) = at_work("doctor", "--json").lines
    assert found["finding"] == told["what"]


def test_a_worker_on_the_disk_that_is_told_as_full_is_not_told_again(at_work: Evergrant, sql: Any, full: Path) -> None:
    sql("update evergrant.processes set disk_free = 500000, host = :host", host=socket.gethostname())
    (told,) = at_work("status", "--json").json["attention"]
    assert str(full) in told["what"]


def test_the_write_that_doctor_tries_at_the_broker_changes_nothing_there(at_work: Evergrant) -> None:
    url = settings.current().broker_url
    assert url is not None
    with connect(url.get_secret_value()) as client:
        before = client.dbsize()
        assert at_work("doctor", "--json").lines == []
        assert client.dbsize() == before
