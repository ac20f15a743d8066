"""Revocations beside refreshes, late token sets, other attempts and a long queue."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from models.database import engine
from simulator.control import SimulatorControl
from tasks import clock, refresh, replay, retry
from tasks.journal import Entry
from tasks.revoke import Ending, begin
from tests.harness import Heart, token_set
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
    heart: Heart, simulator: SimulatorControl
) -> None:
    client = client_of(heart, simulator)
    grant = heart.grant(client, pair=mint(simulator), labels=ORG)
    late = heart.begin(client)
    heart.until_due(grant)
    heart.run("select evergrant.request_revocation('customer')")
    (job,) = heart.claim(client).revocations
    (attempt,) = heart.start([job], status="revoking")
    ending = Ending(heart.place, attempt)
    kill = ending._kill

    def kill_and_let_another_arrive(task: Any) -> Any:
        evidence = kill(task)
        second = mint(simulator, "second")
        heart.set(grant, generation=2)
        heart.settle((late, token_set("x", refresh_token=second["refresh_token"], access_token=second["access_token"])))
        return evidence

    ending._kill = kill_and_let_another_arrive  # type: ignore[method-assign]
    ending.carry_out()
    assert found(heart)["status"] == "queued"
    end(heart, client)
    assert found(heart)["status"] == "done"
    assert living(simulator, "second") == []


def test_an_attempt_that_lost_its_claim_neither_ends_nor_delays_the_revocation(
    heart: Heart, simulator: SimulatorControl
) -> None:
    client = client_of(heart, simulator)
    grant = heart.grant(client, pair=mint(simulator), labels=ORG)
    heart.run("select evergrant.request_revocation('customer')")
    (job,) = heart.claim(client).revocations
    (frozen,) = heart.start([job], status="revoking")
    heart.later(minutes=2)
    (again,) = heart.claim(client).revocations
    (attempt,) = heart.start([again], status="revoking")
    said = ("status", "due_at", "attempts", "evidence", "last_error_code")
    before = [found(heart)[name] for name in said], heart.row(grant)
    Ending(heart.place, frozen).carry_out()
    assert ([found(heart)[name] for name in said], heart.row(grant)) == before
    Ending(heart.place, attempt).carry_out()
    assert found(heart)["status"] == "done"


def test_the_job_waits_while_a_refresh_is_under_way_and_takes_its_set_with_it(
    heart: Heart, simulator: SimulatorControl
) -> None:
    client = client_of(heart, simulator)
    heart.grant(client, pair=mint(simulator), labels=ORG)
    attempt = heart.begin(client)
    heart.run("select evergrant.request_revocation('customer')")
    end(heart, client)
    assert simulator.requests() == []
    request = refresh.request_of(heart.place, attempt)
    sending = retry.send(heart.place.transport, request, deadline=timedelta(seconds=5), guard=lambda: None)
    heart.settle((attempt, heart.place.transport.submit(sending).result()))
    for _ in range(3):
        end(heart, client)
        heart.later(seconds=20)
    assert found(heart)["evidence"] == "verified"
    assert living(simulator) == []


def test_a_set_that_is_found_in_a_journal_after_the_end_reopens_it(heart: Heart, simulator: SimulatorControl) -> None:
    client = client_of(heart, simulator)
    grant = heart.grant(client, pair=mint(simulator), labels=ORG)
    assert revoke(heart, client)["status"] == "done"
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
    heart.place.journal.append([entry])
    replay.settle_left(heart.place)
    assert (found(heart)["status"], heart.row(grant)["status"]) == ("queued", "revoking")
    end(heart, client)
    assert found(heart)["status"] == "done"
    assert living(simulator, "second") == []


def test_a_revocation_that_loses_the_database_at_any_commit_ends_its_attempt_as_soon_as_it_is_back(
    heart: Heart, simulator: SimulatorControl
) -> None:
    """One that nobody ended left a living worker's own journal in the doubt, and the revocation waited for it."""
    client = client_of(heart, simulator)
    for n in range(1, 9):
        grant = heart.grant(client, f"customer-{n}", pair=mint(simulator, f"customer-{n}"), labels=ORG)
        heart.run(f"select evergrant.request_revocation('customer-{n}')")
        for job in heart.claim(client).revocations:
            for attempt in begin(heart.place, job):
                with losing_commit(n):
                    Ending(heart.place, attempt).carry_out()
        row = heart.row(grant)
        assert (row["claimed_at"], row["started_at"], row["doubt_journals"]) == (None, None, []), n
        heart.later(seconds=30)
        end(heart, client)
    assert {row["status"] for row in heart.all("select status from evergrant.revocations")} == {"done"}


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


def test_every_request_of_a_revocation_takes_a_slot_of_the_rate(heart: Heart, simulator: SimulatorControl) -> None:
    client = client_of(heart, simulator, rate=6)
    chain(heart, simulator, client, 1)
    heart.run("select evergrant.request_revocation('customer')")
    end(heart, client)
    sent = len(simulator.requests())
    wait = (heart.valve(client)["next_slot_at"] - clock.wall()).total_seconds()
    assert sent == 2
    assert wait > 10


def test_behind_a_long_queue_a_pair_that_was_refreshed_to_be_revoked_goes_first(
    heart: Heart, simulator: SimulatorControl
) -> None:
    """Last in the queue its access token would expire once more, be refreshed once more, and so on for ever."""
    client = client_of(heart, simulator, rate=60, burst=1)
    for ref in ("first", "second", "third"):
        heart.grant(client, ref, pair=mint(simulator, ref), labels=ORG, access_left=timedelta(seconds=-1))
        heart.run("select evergrant.request_revocation(:ref)", ref=ref)
    for _ in range(2):
        end(heart, client)
        heart.later(seconds=10)
    done = heart.all("select ref, status from evergrant.revocations order by id")
    assert [(each["ref"], each["status"]) for each in done] == [
        ("first", "done"),
        ("second", "queued"),
        ("third", "queued"),
    ]
