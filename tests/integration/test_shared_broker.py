"""Two installations on one broker: each takes the other's messages, and both are told."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis
from celery import Celery
from pydantic import SecretStr

import settings
from tests import brokers
from tests.harness import Harness
from worker import broker, shared_broker
from worker.beat import GrantScheduler

THEIRS = "environment staging, database evergrant of cluster 7"


@pytest.fixture
def server(broker_url: str) -> Iterator[redis.Redis]:
    client = brokers.connect(broker_url)
    yield client
    client.close()


@pytest.fixture
def beat(harness: Harness, broker_url: str, server: redis.Redis) -> GrantScheduler:
    del server
    harness.run("delete from evergrant.processes")
    settings.adopt(settings.current().model_copy(update={"broker_url": SecretStr(broker_url)}))
    broker.use()
    app = Celery("evergrant", broker=broker_url, config_source="celeryconfig", set_as_current=False)
    return GrantScheduler(app, lazy=True)


def fault(harness: Harness, beat: GrantScheduler) -> str | None:
    """What beat says of itself at its next heartbeat."""
    beat.seen_at = None
    beat.look_at = timedelta(0)
    beat.tick()
    told: str | None = harness.one("select fault from evergrant.processes where kind = 'beat'")["fault"]
    return told


def test_a_beat_says_who_else_works_with_its_broker_and_no_longer_once_they_have_left(
    harness: Harness, beat: GrantScheduler, server: redis.Redis
) -> None:
    assert fault(harness, beat) is None
    (now, _), key = server.time(), "evergrant:installations"
    assert len(server.zrange(key, 0, -1)) == 1  # its own
    server.zadd(key, {THEIRS: now})
    told = fault(harness, beat)
    assert told is not None
    assert told.startswith("the broker is shared with another installation: each takes the other's messages")
    assert THEIRS in told
    assert beat.failures == 0
    server.zadd(key, {THEIRS: now - 2 * shared_broker.LATELY_SECONDS})
    assert fault(harness, beat) is None


def test_a_broker_that_may_not_be_asked_that_is_no_broker_that_is_away(
    harness: Harness, beat: GrantScheduler, server: redis.Redis
) -> None:
    server.set("evergrant:installations", "a stranger's")
    assert fault(harness, beat) is None
    assert not beat.broker_failed
