"""Our transport at the broker: what is copied there until it is acknowledged, and what comes back."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from celery import Celery
from kombu import Connection, Consumer

import celeryconfig
from tests.polling import eventually
from worker import broker
from worker.embedded.engines import Engines

CLAIM = "evergrant.refresh"
REQUEST = "evergrant.request_revocation"


@pytest.fixture
def celery(broker_url: str) -> Iterator[Celery]:
    """As a worker has it; without a task of ours."""
    broker.use()
    app = Celery("evergrant", broker=broker_url, config_source="celeryconfig", set_as_current=False)
    app.conf.imports = ()
    yield app
    app.close()


@pytest.fixture
def connection(celery: Celery) -> Iterator[Connection]:
    with celery.connection_for_read() as opened:
        yield opened


def publish(celery: Celery, task: str, *arguments: Any) -> None:
    queue = "upkeep" if task == REQUEST else "refresh"
    with celery.connection_for_write() as opened:
        celery.send_task(task, args=arguments, queue=queue, producer=opened.Producer(), retry=False)


def taken(connection: Connection, queue: str) -> Any:
    """Take one message and leave it unacknowledged, as a worker does while it works."""
    found: list[Any] = []
    chosen = next(each for each in celeryconfig.task_queues if each.name == queue)
    with connection.Consumer([chosen], accept=["json"], callbacks=[lambda _, message: found.append(message)]):
        connection.drain_events(timeout=10)
    return found[0]


def channel_of(connection: Connection) -> Any:
    return connection.default_channel


def stands(connection: Connection, key: str) -> int:
    """How many messages stand under a key, without the prefix."""
    client = channel_of(connection).client
    return int(client.hlen(key) if key == "unacked" else client.llen(key))


def arguments(message: Any) -> Any:
    return json.loads(message.body)[0]


def test_a_message_that_names_claims_is_copied_nowhere(celery: Celery, connection: Connection) -> None:
    publish(celery, CLAIM, [["a", 1]])
    message = taken(connection, "refresh")
    assert stands(connection, "unacked") == 0
    message.ack()
    assert (stands(connection, "unacked"), stands(connection, "refresh")) == (0, 0)


def test_what_an_application_asked_for_stands_in_the_broker_until_it_is_done(
    celery: Celery, connection: Connection
) -> None:
    publish(celery, REQUEST, "customer")
    message = taken(connection, "upkeep")
    assert stands(connection, "unacked") == 1  # so a worker that is killed now takes nothing along
    message.ack()
    assert stands(connection, "unacked") == 0


@pytest.mark.parametrize(("task", "queue"), [(CLAIM, "refresh"), (REQUEST, "upkeep")])
def test_what_nobody_began_goes_back_to_its_queue_at_a_clean_end(
    celery: Celery, connection: Connection, task: str, queue: str
) -> None:
    publish(celery, task, "customer")
    taken(connection, queue)
    channel_of(connection).close()
    with celery.connection_for_read() as another:
        again = taken(another, queue)
        assert (again.headers["task"], arguments(again)) == (task, ["customer"])
        again.ack()


@pytest.mark.parametrize(("task", "queue"), [(CLAIM, "refresh"), (REQUEST, "upkeep")])
def test_what_was_acknowledged_does_not_come_back(
    celery: Celery, connection: Connection, task: str, queue: str
) -> None:
    publish(celery, task, "customer")
    taken(connection, queue).ack()
    channel_of(connection).close()
    with celery.connection_for_read() as another:
        assert (stands(another, queue), stands(another, "unacked")) == (0, 0)


@pytest.mark.parametrize(("task", "queue"), [(CLAIM, "refresh"), (REQUEST, "upkeep")])
@pytest.mark.parametrize("requeue", [False, True])
def test_a_message_may_be_refused_or_given_back(
    celery: Celery, connection: Connection, task: str, queue: str, *, requeue: bool
) -> None:
    publish(celery, task, "customer")
    message = taken(connection, queue)
    message.requeue() if requeue else message.reject()
    assert (stands(connection, "unacked"), stands(connection, queue)) == (0, int(requeue))


def test_messages_that_are_under_way_count_against_what_is_prefetched(celery: Celery, connection: Connection) -> None:
    """A worker that waits for room takes nothing that others could begin."""
    publish(celery, CLAIM, [["a", 1]])
    message = taken(connection, "refresh")
    qos = channel_of(connection).qos
    qos.prefetch_count = 1
    assert not qos.can_consume()
    message.ack()
    assert qos.can_consume()


@pytest.mark.parametrize("task", [CLAIM, REQUEST])
def test_a_worker_that_has_a_message_in_hand_outlives_its_broker(own_engines: Engines, task: str) -> None:
    """What is raised while Celery lets go of a broken connection, as here, it takes for the end of the process."""
    broker.use()
    app = Celery("evergrant", broker=own_engines.broker_url, config_source="celeryconfig", set_as_current=False)
    app.conf.imports = ()
    publish(app, task, "customer")
    in_hand: list[Any] = []
    connection = app.connection_for_read()
    consume(connection.default_channel, in_hand)
    eventually(lambda: waited(connection) and in_hand)
    consume(connection.channel(), [])  # as Celery has for its own news: to close this one fails first
    waited(connection)
    own_engines.valkey.stop()
    connection.collect()
    connection.close()
    in_hand[0].ack()  # by the thread that has dealt with it meanwhile
    own_engines.valkey.start()
    with app.connection_for_read() as another:
        assert stands(another, "unacked") == (0 if task == CLAIM else 1)  # it comes back by itself
    app.close()


def consume(channel: Any, messages: list[Any]) -> None:
    """Take what comes on the queues, and acknowledge nothing."""
    Consumer(channel, celeryconfig.task_queues, accept=["json"], on_message=messages.append).consume()


def waited(connection: Connection) -> bool:
    """Wait for a message for a moment."""
    with suppress(TimeoutError):
        connection.drain_events(timeout=0.1)
    return True
