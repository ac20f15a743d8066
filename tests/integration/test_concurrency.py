"""Several beats and workers at once: no row is claimed twice, no attempt begun twice, and nobody waits in a circle."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from sqlalchemy import event, text

from models import attempt as attempt_rows
from models import claim as claims
from models import dead_letter, locked_grant, redrive, revocation
from models import journal as register
from models.claim import Job, Scope
from models.database import engine, transaction
from tasks.runtime import clock
from tasks.runtime.attempt import Attempt
from tests.harness import LOST, Harness, token_set
from tests.polling import eventually

T = TypeVar("T")


def at_once(*work: Callable[[], T]) -> list[T]:
    """Do things at the same time, each in a thread of its own; returns what they returned."""
    ready = threading.Barrier(len(work))

    def run(each: Callable[[], T]) -> T:
        ready.wait(30)
        return each()

    with ThreadPoolExecutor(len(work)) as pool:
        return [done.result(60) for done in [pool.submit(run, each) for each in work]]


@contextmanager
def no_deadlock() -> Iterator[None]:
    """Fail where PostgreSQL had to break a circle of waiting transactions, also where it was tried again."""
    seen: list[str] = []

    def note(context: Any) -> None:
        seen.append(type(context.original_exception).__name__)

    event.listen(engine(), "handle_error", note)
    try:
        yield
    finally:
        event.remove(engine(), "handle_error", note)
    assert "DeadlockDetected" not in seen


def scope(client: int) -> Scope:
    return Scope(client, clock.wall() + timedelta(seconds=1), timedelta(seconds=30))


def test_two_beats_never_claim_the_same_row(harness: Harness) -> None:
    client = harness.client()
    grants = harness.grants(client, 120)

    taken: list[Job] = []

    def beat() -> None:
        for _ in range(2000):
            taken.extend(harness.claim(client, most=7).due)
            if len(taken) >= len(grants):
                return

    at_once(*[beat] * 4)
    assert Counter(grant for grant, _ in taken) == Counter(grants)


def test_a_claim_waits_for_no_other_claim_and_takes_what_that_leaves(harness: Harness) -> None:
    client = harness.client()
    grants = harness.grants(client, 6)
    with transaction() as first:
        taken = claims.due(first, scope(client), 3)
        with transaction() as second:
            second.execute(text("set local lock_timeout = '1s'"))
            others = claims.due(second, scope(client), 6)
    assert {grant for grant, _ in taken} == set(grants[:3])
    assert {grant for grant, _ in others} == set(grants[3:])


@pytest.mark.parametrize("claim", [claims.requested, claims.revocations, claims.failing, claims.repeats])
def test_no_kind_of_claim_waits_for_a_row_that_is_locked(harness: Harness, claim: Callable[..., list[Job]]) -> None:
    client = harness.client(rotation="grace")
    grant = harness.grant(client, failures=1, doubt_since=clock.wall())
    if claim is claims.requested:
        harness.set(grant, failures=0, doubt_since=None)
        harness.run("select evergrant.request_refresh('customer')")
    if claim is claims.revocations:
        harness.run("select evergrant.request_revocation('customer')")
    with transaction() as other:
        other.execute(text("select from evergrant.grants for no key update"))
        with transaction() as connection:
            connection.execute(text("set local lock_timeout = '1s'"))
            assert claim(connection, scope(client), 5) == []
    with transaction() as connection:
        assert [job[0] for job in claim(connection, scope(client), 5)] == [grant]


def test_a_row_that_a_stranger_has_locked_is_not_started_and_keeps_no_other_from_it(harness: Harness) -> None:
    client = harness.client()
    grants = harness.grants(client, 3)
    jobs = harness.claim(client).due
    with transaction() as stranger:
        stranger.execute(text("select from evergrant.grants where id = :id for update"), {"id": grants[1]})
        begun = at_once(lambda: harness.start(jobs))[0]
    assert {attempt.job.grant_id for attempt in begun} == {grants[0], grants[2]}
    harness.later(seconds=31)
    assert [grant for grant, _ in harness.claim(client).due] == [grants[1]]


def test_a_message_that_many_workers_take_at_once_begins_each_attempt_once(harness: Harness) -> None:
    client = harness.client()
    grants = harness.grants(client, 20)
    jobs = harness.claim(client).due

    def worker() -> list[Attempt]:
        return harness.start(random.sample(jobs, len(jobs)))

    with no_deadlock():
        begun = [attempt.job.grant_id for attempts in at_once(*[worker] * 6) for attempt in attempts]
    assert Counter(begun) == Counter(grants)


def test_overlapping_groups_that_settle_at_once_wait_in_no_circle(harness: Harness) -> None:
    client, other = harness.client(), harness.client("other")
    grants = [*harness.grants(client, 8), *harness.grants(other, 8)]
    rounds: list[Sequence[Attempt]] = []
    for _ in range(4):
        rounds.append(harness.start([*harness.claim(client).due, *harness.claim(other).due]))
        harness.later(minutes=2)

    arrived: set[str] = set()

    def settle(n: int, attempts: Sequence[Attempt]) -> Callable[[], None]:
        mixed = random.sample(attempts, len(attempts))
        answers = [token_set(f"{n}-{attempt.job.grant_id}") if k % 3 else LOST for k, attempt in enumerate(mixed)]
        arrived.update(f"rt-{n}-{attempt.job.grant_id}" for k, attempt in enumerate(mixed) if k % 3)
        return lambda: harness.settle(*zip(mixed, answers, strict=True))

    with no_deadlock():
        at_once(*[settle(n, attempts) for n, attempts in enumerate(rounds)])
    held = {harness.token(grant) for grant in grants}
    assert held.union(*[harness.formers(grant) for grant in grants]) >= arrived


def test_settling_starting_draining_and_revoking_the_same_grants_wait_in_no_circle(harness: Harness) -> None:
    client = harness.client()
    grants = harness.grants(client, 10)
    with transaction() as connection:
        journals = [register.register(connection, host="elsewhere", process="1") for _ in range(6)]
    late = harness.start(harness.claim(client).due)
    harness.later(minutes=2)
    fresh = harness.start(harness.claim(client).due)
    harness.run("update evergrant.grants set doubt_since = now(), doubt_journals = :journals", journals=journals)
    harness.run("select evergrant.request_revocation(ref) from evergrant.grants")
    shuffled = random.sample(grants, len(grants))

    def drain() -> None:
        for journal in journals:
            with transaction() as connection:
                register.drained(connection, journal)

    def end() -> None:
        for grant in shuffled:
            with transaction() as connection:
                number = connection.execute(text("select claim_no from evergrant.grants where id = :g"), {"g": grant})
                revocation.again(connection, grant, number.scalar_one(), wait=timedelta(0), failed=True, code="x")

    def done() -> None:
        for grant in reversed(shuffled):
            with transaction() as connection:
                if revocation.is_ours(connection, grant, 4):
                    revocation.done(connection, grant, evidence="accepted")

    def look() -> None:
        for _ in range(10):
            harness.claim(client)

    with no_deadlock():
        at_once(
            drain,
            end,
            done,
            lambda: harness.settle(*[(attempt, token_set(f"l-{attempt.job.ref}")) for attempt in late]),
            lambda: harness.settle(*[(attempt, LOST) for attempt in fresh]),
            look,
        )
    assert all(harness.row(grant)["doubt_journals"] == [] for grant in grants)


def test_a_start_that_is_not_committed_leaves_the_other_nothing(harness: Harness) -> None:
    client = harness.client()
    harness.grant(client)
    jobs = harness.claim(client).due
    begun = threading.Event()

    def start() -> list[Attempt]:
        begun.set()
        return harness.start(jobs)

    with ThreadPoolExecutor(1) as pool, transaction() as first:
        mine = attempt_rows.start(first, jobs, journal_id=harness.runtime.journal_id)
        other = pool.submit(start)
        begun.wait(10)
        first.commit()
        assert other.result(30) == []
    assert len(mine) == 1


def test_many_applications_that_report_one_401_at_once_make_one_refresh(harness: Harness) -> None:
    client = harness.client()
    grant = harness.grant(client, due_in=timedelta(hours=1))

    def report() -> None:
        for _ in range(5):
            harness.run("select evergrant.request_refresh('customer', if_generation => 1)")

    with no_deadlock():
        at_once(*[report] * 6)
    assert harness.claim(client).requested == [(grant, 1)]
    assert harness.all("select id from evergrant.refresh_requests") == []


def test_many_applications_that_revoke_one_grant_at_once_get_one_id(harness: Harness) -> None:
    client = harness.client()
    harness.grant(client)

    def ask() -> int:
        return int(harness.one("select evergrant.request_revocation('customer') as id")["id"])

    assert len(set(at_once(*[ask] * 8))) == 1


def test_refresh_requests_settles_and_claims_at_once_lose_nothing(harness: Harness) -> None:
    client = harness.client()
    grants = harness.grants(client, 10)
    stop = threading.Event()
    stored: Counter[Any] = Counter()

    def applications() -> None:
        while not stop.is_set():
            harness.run(f"select evergrant.request_refresh('customer-{random.randrange(10)}')")

    def work(name: str) -> None:
        for n in range(12):
            claimed = harness.claim(client)
            started = harness.start([*claimed.due, *claimed.requested])
            harness.settle(*[(attempt, token_set(f"{name}-{n}-{attempt.job.ref}")) for attempt in started])
            stored.update(attempt.job.grant_id for attempt in started)
            harness.run(
                """with locked as (select id from evergrant.grants order by id for no key update)
                update evergrant.grants g set refreshed_at = refreshed_at - interval '2 minutes'
                from locked where g.id = locked.id"""
            )
        stop.set()

    with no_deadlock():
        at_once(applications, lambda: work("a"), lambda: work("b"))
    for grant in grants:
        assert harness.row(grant)["generation"] == 1 + stored[grant]


def test_a_redrive_and_a_success_that_closes_the_same_letter_wait_in_no_circle(harness: Harness) -> None:
    client = harness.client()
    grant = harness.grant(client)
    with transaction() as connection:
        dead_letter.write(
            connection, grant, kind="refresh", cause="gave_up", detail=None, attempts=1, first_failed_at=None
        )
    letter = harness.one("select id from evergrant.dead_letters")["id"]

    def redriven() -> list[redrive.Redriven]:
        with transaction() as connection:
            return redrive.redrive(connection, [letter], who="ada")

    def is_waiting() -> bool:
        return (
            harness.one("select count(*) > 0 as is from pg_stat_activity where wait_event_type = 'Lock'")["is"] is True
        )

    with no_deadlock(), ThreadPoolExecutor(1) as pool:
        with transaction() as settling:
            locked_grant.lock(settling, [grant])
            waiting = pool.submit(redriven)
            eventually(is_waiting)
            dead_letter.close(settling, [grant], kind="refresh", resolution="recovered", resolved_by="evergrant")
        (result,) = waiting.result(30)
    assert result.why_not == "it is closed already"
