"""A broker that hangs or is away is the broker's fault: beat goes on looking, and says so itself."""

import socket
from collections.abc import Iterator
from datetime import timedelta

import pytest
from celery import Celery
from pydantic import SecretStr

import settings
from tests.harness import Harness
from worker import beat as beats
from worker import broker
from worker.beat import GrantScheduler


@pytest.fixture
def silent() -> Iterator[str]:
    """A broker that takes connections and never answers; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://:hush@127.0.0.1:{server.getsockname()[1]}/0"


def beat_at(url: str, monkeypatch: pytest.MonkeyPatch) -> GrantScheduler:
    broker.use()
    monkeypatch.setattr(beats, "BROKER_PATIENCE_SECONDS", 0.2)
    settings.adopt(settings.current().model_copy(update={"broker_url": SecretStr(url)}))
    app = Celery("evergrant", broker=url, config_source="celeryconfig", set_as_current=False)
    return GrantScheduler(app, lazy=True)


def fault_of(harness: Harness) -> str | None:
    fault: str | None = harness.one("select fault from evergrant.processes where kind = 'beat'")["fault"]
    return fault


@pytest.fixture
def due(harness: Harness) -> Harness:
    """A grant and a chore are due, and nobody has said that it lives."""
    harness.run("delete from evergrant.processes")
    harness.run("update evergrant.chores set due_at = clock_timestamp()")
    harness.grant(harness.client(), "a", due_in=timedelta(seconds=-1))
    return harness


def test_a_broker_that_hangs_holds_up_no_look_and_is_named_by_the_beat_that_lives(
    due: Harness, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat = beat_at(silent, monkeypatch)
    for _ in range(3):
        beat.tick()
    told = fault_of(due)
    place = silent.partition("@")[2].removesuffix("/0")
    assert told == f"the broker hangs: it takes connections and does not answer ({place})"


def test_where_nobody_listens_beat_does_not_try_for_ever(
    due: Harness, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: whoever connects is refused
        beat = beat_at(f"redis://127.0.0.1:{taken.getsockname()[1]}/0", monkeypatch)
        for _ in range(3):
            beat.tick()
    assert "cannot be reached" in (fault_of(due) or "")


def test_once_the_broker_answers_the_fault_is_gone_at_once(
    due: Harness, silent: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat = beat_at(silent, monkeypatch)
    for _ in range(2):
        beat.tick()
    assert fault_of(due)
    beat.app.conf.update(broker_url=broker_url, broker_write_url=broker_url)
    beat.__dict__.pop("connection", None)  # which would lead to the old place
    for _ in range(2):
        beat.tick()
    assert fault_of(due) is None


CAME_BACK = """
with ticket as (
    insert into evergrant.tickets (ticket_hash, client_id, ref, labels, scopes, other_account_allowed, created_by,
        counted_as, expires_at)
    select sha256(n::text::bytea), c.id, 'customer-' || n, '{}', '{}', false, 'test', 'test', now() + interval '1 hour'
    from generate_series(1, 20) n, evergrant.clients c returning id, client_id, ref
), request as (
    insert into evergrant.connect_requests (id, client_id, ref, state_hash, sealed_verifier, redirect_uri, created_by,
        expires_at)
    select id, client_id, ref, sha256(ref::bytea), '', 'https://here.example', 'test', now() + interval '1 hour'
    from ticket
)
insert into evergrant.visits (id, ticket_id, sealed_answer, answered_at)
select id, id, 'sealed', clock_timestamp() from ticket
"""


def test_a_broker_that_hangs_is_waited_for_once_however_many_customers_came_back(
    due: Harness, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    due.run("update evergrant.grants set due_at = now() + interval '1 hour'")
    due.run(CAME_BACK)
    beat = beat_at(silent, monkeypatch)
    failures: list[Exception] = []
    note = beat._note_broker_failure

    def counted(error: Exception) -> None:
        failures.append(error)
        note(error)

    monkeypatch.setattr(beat, "_note_broker_failure", counted)
    beat.tick()
    assert len(failures) == 1


def test_customers_who_are_awaited_have_a_broker_that_is_away_asked_no_more_often(
    due: Harness, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat = beat_at(silent, monkeypatch)
    beat.tick()
    assert beat.broker_failed
    beat.customers_away = True
    assert beat.tick() == due.settings.beat_interval_seconds
