"""Neighbours' locks: what cannot be had now is left, and had later; nobody else waits, and nothing is dropped."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
import structlog
from celery import Celery
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

import settings
from models import attempt as attempts
from models import database
from models.database import Lane, transaction
from models.lock_holder import MANY
from simulator.control import SimulatorControl
from tasks import upkeep, waiting_requests
from tasks.revoke import RevocationAttempt, begin
from tasks.runtime import lock_holders
from tasks.settling import settle
from tests.harness import Harness, token_set
from tests.integration import revoking
from tests.polling import eventually
from worker.beat import GrantScheduler


@contextmanager
def stranger(statement: str, **parameters: Any) -> Iterator[psycopg.Connection[Any]]:
    """Somebody else's transaction that is open while the context is, on a connection of its own."""
    url = database.engine().url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, application_name="shop") as connection:
        connection.execute(statement.encode(), parameters)
        yield connection
        connection.rollback()


def locked(grant: UUID) -> Any:
    return stranger("select from evergrant.grants where id = %(grant)s for update", grant=grant)


def waiting(harness: Harness) -> list[str]:
    rows = harness.all("select arguments ->> 'ref' as ref from evergrant.waiting_requests order by id")
    return [row["ref"] for row in rows]


def revocations(harness: Harness, column: str) -> list[str]:
    return [row[column] for row in harness.all("select ref, reason from evergrant.revocations")]


def test_a_message_for_what_an_open_transaction_holds_waits_as_a_row_and_is_carried_out_afterwards(
    harness: Harness,
) -> None:
    client = harness.client()
    harness.grant(client, "held")
    harness.grant(client, "free")
    with stranger("select evergrant.request_revocation('held')"):
        for _ in range(3):
            upkeep.request_revocation("held", reason="left", erase=True)
        upkeep.request_revocation("free")
        assert revocations(harness, "ref") == ["free"]
        assert waiting_requests.carry_out() == 3
        assert waiting(harness) == ["held"] * 3
    eventually(lambda: waiting_requests.carry_out() == 0)
    assert {row["ref"] for row in harness.all("select ref from evergrant.revocations")} == {"held", "free"}
    assert len(harness.all("select from evergrant.erasures")) == 1


def test_a_request_that_waited_and_is_refused_then_is_told_and_forgotten(harness: Harness) -> None:
    grant = harness.grant(harness.client(), "held")
    with stranger("select evergrant.request_revocation('held')"):
        upkeep.request_revocation("held")
    harness.set(grant, ref="renamed")
    with structlog.testing.capture_logs() as told:
        eventually(lambda: waiting_requests.carry_out() == 0)
    assert [line["event"] for line in told] == ["upkeep.request_refused"]


def test_of_one_ref_one_request_is_tried_and_those_behind_it_come_in_order(harness: Harness) -> None:
    client = harness.client()
    for ref in ("held", "other"):
        harness.grant(client, ref)
    with stranger("select evergrant.request_revocation('held')"):
        for reason in ("first", "second"):
            upkeep.request_revocation("held", reason=reason)
        waiting_requests.carry_out()
        tries = harness.all("select tries from evergrant.waiting_requests order by id")
        assert (tries[0]["tries"] >= 1, tries[1]["tries"]) == (True, 0)
    eventually(lambda: waiting_requests.carry_out() == 0)
    assert revocations(harness, "reason") == ["first"]


def test_a_valve_that_a_stranger_has_locked_parks_the_answers_of_its_client_alone(harness: Harness) -> None:
    one, other = harness.client("one"), harness.client("other")
    grants = {name: harness.grants(client, 3) for name, client in (("one", one), ("other", other))}
    started = [*harness.start(harness.claim(one).due), *harness.start(harness.claim(other).due)]
    with stranger("select from evergrant.valves where client_id = %(id)s for update", id=one):
        harness.settle(*[(attempt, token_set(f"{attempt.job.client_id}-{attempt.job.ref}")) for attempt in started])
        assert [harness.row(grant)["generation"] for grant in grants["one"]] == [1, 1, 1]
        assert [harness.row(grant)["generation"] for grant in grants["other"]] == [2, 2, 2]
        assert len(harness.runtime.answers.parked) == 3
    harness.settle()
    assert [harness.row(grant)["generation"] for grant in grants["one"]] == [2, 2, 2]


def test_the_waits_of_a_group_with_a_locked_row_are_less_than_a_second_together() -> None:
    alone = settle.LOCK_WAIT_ALONE * (1 + 1 + settle.LOCKED_ENOUGH)  # to find out who, together, and one by one
    assert settle.LOCK_WAIT + alone < timedelta(seconds=1)


def test_a_job_that_is_given_back_while_a_stranger_holds_its_row_is_left_to_its_lease(harness: Harness) -> None:
    client = harness.client()
    harness.grants(client, 2)
    jobs = harness.claim(client).due
    with locked(jobs[0][0]), transaction() as connection:
        assert attempts.release(connection, [(*job, timedelta(0)) for job in jobs]) == 1


def test_a_revocation_whose_row_is_locked_is_put_aside_and_ended_when_it_is_free(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = revoking.client_of(harness, simulator)
    grant = harness.grant(client, pair=revoking.mint(simulator), labels=revoking.ORG)
    harness.run("select evergrant.request_revocation('customer')")
    (job,) = harness.claim(client).revocations
    (attempt,) = begin(harness.runtime, job)
    with locked(grant):
        with database.using(Lane.ASKED):
            RevocationAttempt(harness.runtime, attempt).carry_out()
        assert len(harness.runtime.unfinished) == 1
        assert harness.row(grant)["started_at"] is not None
    eventually(lambda: harness.row(grant)["started_at"] is None)
    assert harness.one("select status, attempts from evergrant.revocations") == {"status": "queued", "attempts": 0}
    harness.later(seconds=60)
    revoking.end(harness, client)
    assert harness.row(grant)["status"] == "revoked"


def test_a_chore_that_meets_a_lock_is_left_until_it_is_due_again(harness: Harness) -> None:
    harness.grant(harness.client(), status="needs_consent", reason="revoked_or_expired")
    harness.run("update evergrant.grants set last_error_at = clock_timestamp() - interval '31 days'")
    sealed = "select from evergrant.grants where sealed_refresh_token is not null"
    with stranger("lock table evergrant.grants in share mode"):
        upkeep.upkeep("shred_dead_grants")
        assert len(harness.all(sealed)) == 1
    upkeep.upkeep("shred_dead_grants")
    assert harness.all(sealed) == []


def test_who_holds_locks_of_ours_is_told_once_and_whoever_merely_reads_is_not(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_holders, "APART", timedelta(0))
    grant = harness.grant(harness.client())

    def told() -> list[Any]:
        with structlog.testing.capture_logs() as lines:
            lock_holders.tell()
        return [line for line in lines if line["event"] == "lock.held"]

    with stranger("select count(*) from evergrant.grants"), locked(grant) as holder:
        (line,) = eventually(told)
        assert (line["pid"], line["application"], line["tables"]) == (holder.info.backend_pid, "shop", ["grants"])
        assert f"pg_terminate_backend({holder.info.backend_pid})" in line["remedy"]
        assert told() == []


def test_whoever_holds_the_locks_that_there_is_room_for_is_told_where_beat_finds_no_room(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_holders, "APART", timedelta(0))

    def no_room() -> float:
        raise OperationalError(None, None, psycopg.errors.OutOfMemory("out of shared memory"))

    beat = GrantScheduler(Celery(broker="memory://"), lazy=True)
    monkeypatch.setattr(beat, "_look", no_room)

    def told() -> list[Any]:
        with structlog.testing.capture_logs() as lines:
            beat.tick()
        return [(line["pid"], line["tables"], line["locks"] > MANY) for line in lines if line["event"] == "lock.held"]

    assert told() == []
    with stranger("select count(pg_advisory_lock(n)) from generate_series(1, %(many)s) n", many=MANY) as holder:
        assert eventually(told) == [(holder.info.backend_pid, [], True)]


@pytest.mark.parametrize("pool", [3, 5, 12])
def test_the_lanes_have_together_what_a_process_may_open(pool: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_current", [settings.Settings(database_pool=pool)])
    assert sum(database.connections(lane) for lane in database.OF_THE_POOL) == pool
    assert set(Lane) - set(database.OF_THE_POOL) == {Lane.WEBHOOKS, Lane.PUBLIC}  # one more each, where it is wanted


def test_whoever_waits_in_one_lane_keeps_no_connection_of_another(harness: Harness) -> None:
    with database.using(Lane.ASKED), transaction() as asked:
        assert asked.scalar(text("show lock_timeout")) == "200ms"
        with database.using(Lane.HEART), transaction() as heart:
            assert heart.engine is not asked.engine
            assert heart.scalar(text("show lock_timeout")) == "1s"
