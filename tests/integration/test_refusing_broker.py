"""A broker that answers and takes no write, its disk or memory being full: it is waited for like one that is away."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Connection
from pydantic import SecretStr

import settings
from tests.harness import Harness
from tests.integration.test_broker import REQUEST, arguments, channel_of, consume, publish, stands, taken, waited
from tests.polling import eventually
from worker import broker
from worker.beat import GrantScheduler
from worker.cli.examination import _of_broker
from worker.embedded.engines import Engines

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """Those of this file, whose broker is told to refuse."""
    with Engines(tmp_path_factory.mktemp("engines")) as found:
        yield found


@pytest.fixture
def server(engines: Engines) -> Iterator[redis.Redis]:
    """Their broker, empty and willing at the beginning and at the end."""
    client = engines.valkey.connect()
    client.flushall()
    yield client
    relent(client)
    client.close()


@pytest.fixture
def url(engines: Engines, server: redis.Redis) -> str:
    del server
    return engines.valkey.url


def refuse(server: redis.Redis, *, writes: str) -> None:
    """Have it refuse: all writes, as where its disk is full, or those that need memory."""
    setting = {"all": ("min-replicas-to-write", 1), "growing": ("maxmemory", 1)}[writes]
    server.config_set(*setting)


def relent(server: redis.Redis) -> None:
    server.config_set("min-replicas-to-write", 0)
    server.config_set("maxmemory", 0)


@pytest.fixture
def celery(url: str) -> Iterator[Celery]:
    broker.use()
    app = Celery("evergrant", broker=url, config_source="celeryconfig", set_as_current=False)
    app.conf.imports = ()
    yield app
    app.close()


@pytest.fixture
def connection(celery: Celery) -> Iterator[Connection]:
    with celery.connection_for_read() as opened:
        yield opened


def taken_from(connection: Connection, server: redis.Redis) -> Any:
    """Take the one message from a broker that lets go of it, and has no memory for a copy."""
    found: list[Any] = []
    consume(connection.default_channel, found)
    refuse(server, writes="growing")
    eventually(lambda: waited(connection) and found)
    return found[0]


def test_a_message_that_the_broker_takes_no_copy_of_is_worked_on_all_the_same(
    celery: Celery, connection: Connection, server: redis.Redis
) -> None:
    publish(celery, REQUEST, "customer")
    message = taken_from(connection, server)
    assert arguments(message) == ["customer"]
    message.ack()
    assert (stands(connection, "unacked"), stands(connection, "upkeep")) == (0, 0)


def test_what_was_not_copied_goes_back_to_its_queue_at_a_clean_end(
    celery: Celery, connection: Connection, server: redis.Redis
) -> None:
    publish(celery, REQUEST, "customer")
    taken_from(connection, server)
    relent(server)
    channel_of(connection).close()
    with celery.connection_for_read() as another:
        assert stands(another, "upkeep") == 1


def test_a_copy_that_the_broker_does_not_let_go_of_costs_nobody_his_life_and_comes_back(
    celery: Celery, connection: Connection, server: redis.Redis
) -> None:
    publish(celery, REQUEST, "customer")
    message = taken(connection, "upkeep")
    refuse(server, writes="all")
    message.ack()
    assert message.acknowledged
    assert stands(connection, "unacked") == 1


# A worker with a task that says on standard output what it got.
WORKER = """
import sys
from celery import Celery
from worker import broker
broker.use()
app = Celery("evergrant", broker=sys.argv[1], config_source="celeryconfig", set_as_current=True)
app.conf.imports = ()
@app.task(name="evergrant.request_revocation")
def told(what):
    print("told", what, flush=True)
app.worker_main(["worker", "--loglevel=warning", "--concurrency=1"])
"""


@pytest.mark.parametrize("writes", ["all", "growing"])
def test_a_worker_outlives_a_broker_that_refuses_writes_and_goes_on_once_it_takes_them(
    celery: Celery, server: redis.Redis, url: str, tmp_path: Path, writes: str
) -> None:
    log = tmp_path / "worker.log"
    with log.open("w") as out:
        worker = subprocess.Popen([sys.executable, "-c", WORKER, url], cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
    try:
        publish(celery, REQUEST, "before")
        eventually(lambda: "told before" in log.read_text(), timeout=30)
        refuse(server, writes=writes)
        if writes == "all":
            eventually(lambda: log.read_text().count("worker.broker_refuses") >= 2, timeout=30)
        assert worker.poll() is None, log.read_text()
        relent(server)
        publish(celery, REQUEST, "after")
        eventually(lambda: "told after" in log.read_text(), timeout=30)
        assert worker.poll() is None
    finally:
        worker.terminate()
        worker.wait(timeout=30)


@pytest.fixture
def beat(harness: Harness, url: str) -> GrantScheduler:
    """A beat with a grant and a chore that are due."""
    harness.run("delete from evergrant.processes")
    harness.run("update evergrant.chores set due_at = clock_timestamp()")
    harness.grant(harness.client(), "a", due_in=timedelta(seconds=-1))
    settings.adopt(settings.current().model_copy(update={"broker_url": SecretStr(url)}))
    broker.use()
    app = Celery("evergrant", broker=url, config_source="celeryconfig", set_as_current=False)
    return GrantScheduler(app, lazy=True)


@pytest.mark.parametrize("writes", ["all", "growing"])
def test_beat_says_that_the_broker_refuses_and_gives_back_what_it_claimed(
    harness: Harness, beat: GrantScheduler, server: redis.Redis, writes: str
) -> None:
    refuse(server, writes=writes)
    for _ in range(3):
        beat.tick()
    told = harness.one("select fault from evergrant.processes where kind = 'beat'")["fault"]
    reason = {"all": "NOREPLICAS Not enough good replicas", "growing": "command not allowed when used memory"}[writes]
    assert told.startswith(f"the broker refuses what is written to it: {reason}")
    assert beat.failures == 0
    grant = harness.one("select due_at <= now() + interval '2 seconds' as soon from evergrant.grants")
    assert grant["soon"]
    harness.run("update evergrant.grants set due_at = now() + interval '1 hour'")
    harness.run("update evergrant.chores set due_at = now() + interval '1 hour'")
    for _ in range(2):  # with nothing to hand out: it still refuses, and is not told as being back
        beat.tick()
    assert harness.one("select fault from evergrant.processes where kind = 'beat'")["fault"] == told
    relent(server)
    for _ in range(2):
        beat.tick()
    assert harness.one("select fault from evergrant.processes where kind = 'beat'")["fault"] is None


def test_doctor_tries_a_write_for_a_broker_that_refuses_tells_how_it_is_all_the_same(
    url: str, server: redis.Redis
) -> None:
    asked = settings.Settings(broker_url=SecretStr(url))
    assert list(_of_broker(asked)) == []
    refuse(server, writes="growing")
    (found,) = _of_broker(asked)
    assert found.finding.startswith("the broker refuses what is written to it: ")
    assert "maxmemory" in found.next
