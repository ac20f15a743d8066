"""Revocations beside refreshes, late token sets, other attempts and a long queue."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from models import attempt as attempts
from models.database import engine, transaction
from simulator.control import SimulatorControl
from tasks import refresh
from tasks.journal import Entry
from tasks.oauth.messages import Request
from tasks.revoke import RevocationAttempt, begin
from tasks.runtime import clock, retry
from tasks.settling import replay
from tests.harness import Harness, token_set
from tests.integration.revoking import (
    ORG,
    chain,
    client_of,
    end,
    found,
    living,
    mint,
    revoke,
)

Eventually = Callable[..., Any]


def test_a_pair_that_arrives_while_the_others_are_being_killed_is_killed_too(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator)
    grant = harness.grant(client, pair=mint(simulator), labels=ORG)
    late = harness.begin(client)
    harness.until_due(grant)
    harness.run("select evergrant.request_revocation('customer')")
    (job,) = harness.claim(client).revocations
    (attempt,) = harness.start([job], status="revoking")
    ending = RevocationAttempt(harness.runtime, attempt)
    kill = ending._kill

    def kill_and_let_another_arrive(task: Any) -> Any:
        evidence = kill(task)
        second = mint(simulator, "second")
        harness.set(grant, generation=2)
        harness.settle(
            (late, token_set("x", refresh_token=second["refresh_token"], access_token=second["access_token"]))
        )
        return evidence

    ending._kill = kill_and_let_another_arrive  # type: ignore[method-assign]
    ending.carry_out()
    assert found(harness)["status"] == "queued"
    end(harness, client)
    assert found(harness)["status"] == "done"
    assert living(simulator, "second") == []


def test_an_attempt_that_lost_its_claim_neither_ends_nor_delays_the_revocation(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator)
    grant = harness.grant(client, pair=mint(simulator), labels=ORG)
    harness.run("select evergrant.request_revocation('customer')")
    (job,) = harness.claim(client).revocations
    (frozen,) = harness.start([job], status="revoking")
    harness.later(minutes=2)
    (again,) = harness.claim(client).revocations
    (attempt,) = harness.start([again], status="revoking")
    said = ("status", "due_at", "attempts", "evidence", "last_error_code")
    before = [found(harness)[name] for name in said], harness.row(grant)
    RevocationAttempt(harness.runtime, frozen).carry_out()
    assert ([found(harness)[name] for name in said], harness.row(grant)) == before
    RevocationAttempt(harness.runtime, attempt).carry_out()
    assert found(harness)["status"] == "done"


@pytest.mark.parametrize("fault", [None, "status"])
def test_nobody_waits_for_the_journal_of_an_attempt_that_lost_its_claim_once_it_has_ended(
    harness: Harness, simulator: SimulatorControl, fault: str | None
) -> None:
    client = client_of(harness, simulator, rotation="family")
    grant = harness.grant(client, pair=mint(simulator), labels=ORG)
    harness.run("select evergrant.request_revocation('customer')")
    (job,) = harness.claim(client).revocations
    (frozen,) = harness.start([job], status="revoking")
    harness.later(minutes=2)
    (again,) = harness.claim(client).revocations
    others = harness.one("insert into evergrant.journals (host, process) values ('else', 'where') returning id")["id"]
    with transaction() as connection:
        attempts.start(connection, [again], journal_id=others, status="revoking", tick=harness.runtime.tick)
    assert harness.row(grant)["doubt_journals"] == [harness.runtime.journal_id]
    if fault:
        simulator.add_fault(fault, where="revoke", status=503, count=1)
    RevocationAttempt(harness.runtime, frozen).carry_out()
    assert harness.row(grant)["doubt_journals"] == []


def test_the_job_waits_while_a_refresh_is_under_way_and_takes_its_set_with_it(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator)
    harness.grant(client, pair=mint(simulator), labels=ORG)
    attempt = harness.begin(client)
    harness.run("select evergrant.request_revocation('customer')")
    end(harness, client)
    assert simulator.requests() == []
    request = refresh.request_of(harness.runtime, attempt)
    assert isinstance(request, Request)
    sending = retry.send(harness.runtime.transport, request, deadline=timedelta(seconds=5), guard=lambda: None)
    harness.settle((attempt, harness.runtime.transport.submit(sending).result()))
    for _ in range(3):
        end(harness, client)
        harness.later(seconds=20)
    assert found(harness)["evidence"] == "verified"
    assert living(simulator) == []


def test_a_set_that_is_found_in_a_journal_after_the_end_reopens_it(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator)
    grant = harness.grant(client, pair=mint(simulator), labels=ORG)
    assert revoke(harness, client)["status"] == "done"
    second = mint(simulator, "second")
    entry = Entry(
        kind="refresh",
        grant_id=str(grant),
        client="demo",
        ref="customer",
        labels={},
        generation=0,
        fingerprint=b"",
        credentials_no=1,
        started_at=clock.wall() - timedelta(minutes=5),
        received_at=clock.wall() - timedelta(minutes=5),
        status=200,
        body=token_set("x", refresh_token=second["refresh_token"], access_token=second["access_token"]).body,
    )
    harness.runtime.journal.append([entry])
    replay.settle_left(harness.runtime)
    assert (found(harness)["status"], harness.row(grant)["status"]) == ("queued", "revoking")
    end(harness, client)
    assert found(harness)["status"] == "done"
    assert living(simulator, "second") == []


def test_a_revocation_that_loses_the_database_at_any_commit_ends_its_attempt_as_soon_as_it_is_back(
    harness: Harness, simulator: SimulatorControl
) -> None:
    """One that nobody ended left a living worker's own journal in the doubt, and the revocation waited for it."""
    client = client_of(harness, simulator)
    for n in range(1, 9):
        grant = harness.grant(client, f"customer-{n}", pair=mint(simulator, f"customer-{n}"), labels=ORG)
        harness.run(f"select evergrant.request_revocation('customer-{n}')")
        for job in harness.claim(client).revocations:
            for attempt in begin(harness.runtime, job):
                with losing_commit(n):
                    RevocationAttempt(harness.runtime, attempt).carry_out()
        row = harness.row(grant)
        assert (row["claimed_at"], row["started_at"], row["doubt_journals"]) == (None, None, []), n
        harness.later(seconds=30)
        end(harness, client)
    assert {row["status"] for row in harness.all("select status from evergrant.revocations")} == {"done"}


@contextmanager
def losing_commit(number: int) -> Iterator[None]:
    """So many commits from now one is carried out, and its answer is a reset."""
    commits = itertools.count(1)

    def lose(connection: Any) -> None:
        if next(commits) == number:
            connection.connection.commit()
            raise OperationalError("COMMIT", {}, ConnectionResetError())

    event.listen(engine(), "commit", lose)
    yield
    event.remove(engine(), "commit", lose)


def test_every_request_of_a_revocation_takes_a_slot_of_the_rate(harness: Harness, simulator: SimulatorControl) -> None:
    client = client_of(harness, simulator, rate=6)
    chain(harness, simulator, client, 1)
    harness.run("select evergrant.request_revocation('customer')")
    end(harness, client)
    sent = len(simulator.requests())
    wait = (harness.valve(client)["next_slot_at"] - clock.wall()).total_seconds()
    assert sent == 2
    assert wait > 10


def test_behind_a_long_queue_a_pair_that_was_refreshed_to_be_revoked_goes_first(
    harness: Harness, simulator: SimulatorControl
) -> None:
    """Last in the queue its access token would expire once more, be refreshed once more, and so on for ever."""
    client = client_of(harness, simulator, rate=60, burst=1)
    for ref in ("first", "second", "third"):
        harness.grant(client, ref, pair=mint(simulator, ref), labels=ORG, access_left=timedelta(seconds=-1))
        harness.run("select evergrant.request_revocation(:ref)", ref=ref)
    for _ in range(2):
        end(harness, client)
        harness.later(seconds=10)
    done = harness.all("select ref, status from evergrant.revocations order by id")
    assert [(each["ref"], each["status"]) for each in done] == [
        ("first", "done"),
        ("second", "queued"),
        ("third", "queued"),
    ]
