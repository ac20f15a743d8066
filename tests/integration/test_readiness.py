"""Whether all are at work is asked of the database, and whoever supervises is never kept waiting for the answer."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

import settings
from models import database
from tests.harness import Harness
from tests.polling import eventually
from worker.embedded.process import Process, Program
from worker.embedded.readiness import LONG_SECONDS, Readiness, pause

AT_WORK = """
insert into evergrant.processes (id, kind, host, pid) values (gen_random_uuid(), 'worker', :host, :pid)
"""


@pytest.fixture
def child() -> Iterator[Process]:
    """One that was launched, and of which the database has not heard."""
    process = Process(Program(name="worker-1", argv=["/bin/sleep", "600"]))
    process.launch()
    yield process
    process.stop()


@pytest.fixture
def mute(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Where the database should be somebody takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        url = f"postgresql://nobody@127.0.0.1:{server.getsockname()[1]}/none"
        monkeypatch.setattr(settings, "_current", [settings.Settings(database_url=SecretStr(url))])
        yield server
        database.dispose()


def test_a_database_that_says_nothing_holds_up_no_look_after_the_processes(child: Process, mute: socket.socket) -> None:
    with Readiness([child]) as readiness, capture_logs() as told:
        readiness.look()
        asked, _ = mute.accept()
        with asked:
            readiness.look()
            assert asked.recv(4096), "it asks"
            asked.setblocking(False)
            with pytest.raises(BlockingIOError):  # and would have hung up, had we waited for it to give up
                asked.recv(1)
    assert told == []


def test_it_is_told_once_that_all_are_at_work(child: Process, harness: Harness) -> None:
    with Readiness([child]) as readiness, capture_logs() as told:
        readiness.look()
        harness.run(AT_WORK, host=socket.gethostname(), pid=child.pid)

        def events() -> list[Any]:
            readiness.look()
            return [each["event"] for each in told]

        eventually(events)
        assert events() == ["ready"]
        harness.run("delete from evergrant.processes")


def test_what_takes_long_is_asked_less_often() -> None:
    assert pause(0) < pause(LONG_SECONDS + 1)
