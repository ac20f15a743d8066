"""Who came back from a provider waits for beat, which looks for that often while somebody is there."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from celery import Celery
from kombu import Connection
from pydantic import SecretStr

import settings
from tests.integration.public.conftest import Scene
from tests.integration.public.test_connecting import back
from tests.integration.test_broker import stands
from worker import beat as beats
from worker.beat import GrantScheduler

INTERVAL = 30.0


@pytest.fixture
def connection(celery: Celery) -> Iterator[Connection]:
    with celery.connection_for_read() as opened:
        yield opened


@pytest.fixture
def beat(scene: Scene, celery: Celery, broker_url: str, monkeypatch: pytest.MonkeyPatch) -> GrantScheduler:
    """A beat that looks twice a minute, to which nothing else is due."""
    changed = {"broker_url": SecretStr(broker_url), "beat_interval_seconds": INTERVAL}
    settings.adopt(settings.current().model_copy(update=changed))
    scene.harness.run("update evergrant.chores set due_at = clock_timestamp() + interval '1 hour'")
    return GrantScheduler(celery, lazy=True)


def test_a_customer_who_comes_back_is_offered_at_once_and_not_at_the_next_look(
    scene: Scene, beat: GrantScheduler, connection: Connection
) -> None:
    assert beat.tick() == INTERVAL  # nobody is away
    callback = back(scene.browser, scene.link())
    beat.chores_at = None  # its half minute is over
    assert 0 < beat.tick() <= beats.CUSTOMER_SECONDS
    assert stands(connection, "connect") == 0

    scene.browser.open(callback, follow=False)
    assert 0 < beat.tick() <= beats.CUSTOMER_SECONDS

    assert stands(connection, "connect") == 1


def test_customers_who_come_back_together_share_two_messages(
    scene: Scene, beat: GrantScheduler, connection: Connection
) -> None:
    for number in range(7):
        scene.browser.open(back(scene.browser, scene.link(f"c{number}")), follow=False)

    beat.tick()

    assert stands(connection, "connect") == 2
    assert scene.rows("select count(*) from evergrant.visits where offered_at is not null") == [(7,)]


def test_between_two_whole_looks_nothing_else_is_done(scene: Scene, client: int, beat: GrantScheduler) -> None:
    back(scene.browser, scene.link())
    beat.tick()
    scene.harness.grant(client, "due", due_in=timedelta(seconds=-1))
    claimed = "select claimed_at is not null from evergrant.grants"

    beat.tick()
    assert scene.rows(claimed) == [(False,)]
    beat.look_at = timedelta(0)
    beat.tick()
    assert scene.rows(claimed) == [(True,)]
