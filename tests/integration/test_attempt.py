"""Attempts: compare-and-swap on the claim number, whatever is duplicated, late, lost or forged."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from models import attempt as attempts
from models import journal as register
from models.claim import Job
from models.database import engine, transaction
from tasks import refresh
from tasks.oauth.transport import Answer
from tasks.settle import keep, settle
from tests.harness import HELD_BACK, INVALID_CLIENT, INVALID_GRANT, LOST, UNREACHABLE, Heart, message, token_set
from tests.polling import eventually
from tests.raw_servers import Bench, hang


def test_a_started_attempt_has_the_lease_of_its_client_and_names_its_journal(heart: Heart) -> None:
    client = heart.client()
    grant = heart.grant(client)
    attempt = heart.begin(client)
    row = heart.row(grant)
    assert (row["claim_no"], row["claimed_at"], row["journal_id"]) == (2, None, heart.place.journal_id)
    assert row["due_at"] - row["started_at"] == timedelta(seconds=60)
    assert (attempt.job.claim_no, heart.sent(attempt)) == (2, "rt-customer-1")


def test_a_message_that_arrives_ten_times_begins_one_attempt(heart: Heart) -> None:
    client = heart.client()
    heart.grant(client)
    jobs = heart.claim(client).due
    assert [len(heart.start(jobs)) for _ in range(10)] == [1] + [0] * 9


def test_a_message_with_the_same_job_twice_begins_one_attempt(heart: Heart) -> None:
    client = heart.client()
    heart.grant(client)
    (job,) = heart.claim(client).due
    assert heart.place.once([job, job]) == [job]
    assert heart.place.once([job]) == []


def test_a_message_of_an_older_claim_is_dropped(heart: Heart) -> None:
    client = heart.client()
    heart.grant(client)
    stale = heart.claim(client).due
    heart.later(seconds=31)
    fresh = heart.claim(client).due
    assert heart.start(stale) == []
    assert len(heart.start(fresh)) == 1


def test_a_message_whose_claim_has_lapsed_begins_nothing_for_it_no_longer_counts_against_the_burst(
    heart: Heart,
) -> None:
    client = heart.client()
    heart.grant(client)
    jobs = heart.claim(client).due
    heart.later(hours=1)
    assert heart.start(jobs) == []
    assert len(heart.start(heart.claim(client).due)) == 1


@pytest.mark.parametrize("forged", [-1, 0, 1, 2, 3, 4])
def test_a_forged_message_begins_nothing(heart: Heart, forged: int) -> None:
    """Whatever number it says: that of the attempt under way, the next one, an old one."""
    client = heart.client()
    grant = heart.grant(client)
    heart.begin(client)
    before = heart.picture(grant)
    assert heart.start([(grant, forged), (uuid4(), forged)]) == []
    assert heart.picture(grant) == before


@pytest.mark.parametrize("forged", [0, 1, 2])
def test_a_forged_message_begins_nothing_where_nothing_was_claimed(heart: Heart, forged: int) -> None:
    client = heart.client()
    grant = heart.grant(client)
    heart.ask(client, UNREACHABLE)
    heart.until_due(grant)
    assert heart.start([(grant, forged)]) == []


def test_nothing_in_a_message_that_is_no_job_does_harm(heart: Heart) -> None:
    client = heart.client()
    job = heart.grant(client), 1
    nonsense = [None, 7, "x", [], ["x", 1], [str(job[0])], [str(job[0]), "1"], [str(job[0]), 2**63], [str(job[0]), -1]]
    assert refresh.read_jobs([*nonsense, *message([job])]) == [job]
    for no_list in (None, 7, "x", job):
        assert refresh.read_jobs(no_list) == []


def test_an_attempt_that_nobody_ended_is_noted_as_doubt_with_its_journal(heart: Heart) -> None:
    client = heart.client()
    grant = heart.grant(client)
    heart.begin(client)
    heart.until_due(grant)
    begun = heart.row(grant)["started_at"]
    job = heart.begin(client).job
    assert job.doubt_since == begun
    assert job.journals_undrained
    assert heart.row(grant)["doubt_journals"] == [heart.place.journal_id]


def test_doubt_outlives_later_attempts_and_begins_with_the_first(heart: Heart) -> None:
    client = heart.client()
    grant = heart.grant(client)
    heart.ask(client, LOST)
    for answer in (UNREACHABLE, HELD_BACK, INVALID_CLIENT, LOST):
        first = heart.row(grant)["doubt_since"]
        heart.until_due(grant)
        heart.run("update evergrant.valves set paused_until = null")
        heart.ask(client, answer)
        assert heart.row(grant)["doubt_since"] < first  # moved with the time that went by, not begun anew
    heart.until_due(grant)
    assert heart.begin(client).job.doubt_since is not None


def test_the_journals_of_several_attempts_in_doubt_are_kept_once_each(heart: Heart) -> None:
    client = heart.client()
    grant = heart.grant(client)
    with transaction() as connection:
        elsewhere = register.register(connection, host="elsewhere", process="1")
    for journal in (elsewhere, heart.place.journal_id, elsewhere):
        heart.until_due(grant)
        with transaction() as connection:
            attempts.start(connection, _claimed(heart, client), journal_id=journal)
    heart.until_due(grant)
    doubted = heart.row(grant)["doubt_since"]
    heart.begin(client)
    assert heart.row(grant)["doubt_journals"] == [elsewhere, heart.place.journal_id]
    assert heart.row(grant)["doubt_since"] == doubted


@pytest.mark.parametrize("answer", [LOST, HELD_BACK])
def test_a_worker_that_lost_its_claim_and_got_no_tokens_takes_its_journal_out_of_the_doubt(
    heart: Heart, answer: Answer
) -> None:
    client = heart.client()
    grant = heart.grant(client)
    frozen = heart.begin(client)
    with transaction() as connection:
        elsewhere = register.register(connection, host="elsewhere", process="1")
    heart.until_due(grant)
    with transaction() as connection:
        attempts.start(connection, _claimed(heart, client), journal_id=elsewhere)
    assert heart.row(grant)["doubt_journals"] == [heart.place.journal_id]
    heart.settle((frozen, answer))
    row = heart.row(grant)
    assert row["doubt_journals"] == []
    assert row["doubt_since"] is not None
    assert row["started_at"] is not None  # the other's attempt goes on


@pytest.mark.parametrize("answer", [LOST, HELD_BACK])
def test_a_worker_that_settled_late_and_had_begun_anew_waits_for_itself_no_longer_than_that(
    heart: Heart, answer: Answer
) -> None:
    client = heart.client()
    grant = heart.grant(client)
    first = heart.begin(client)
    heart.until_due(grant)
    second = heart.begin(client)
    heart.settle((first, answer))
    assert heart.row(grant)["doubt_journals"] == [heart.place.journal_id]
    heart.settle((second, answer))
    assert heart.row(grant)["doubt_journals"] == []
    assert heart.row(grant)["doubt_since"] is not None


def test_a_definite_failure_is_no_doubt(heart: Heart) -> None:
    client = heart.client()
    grant = heart.grant(client)
    heart.ask(client, INVALID_CLIENT)
    row = heart.row(grant)
    assert (row["doubt_since"], row["started_at"], row["failures"]) == (None, None, 1)


def test_an_open_revocation_keeps_a_claimed_refresh_from_beginning(heart: Heart) -> None:
    client = heart.client()
    heart.grant(client)
    jobs = heart.claim(client).due
    heart.run("select evergrant.request_revocation('customer')")
    assert heart.start(jobs) == []


def test_a_grant_that_was_paused_meanwhile_is_not_started(heart: Heart) -> None:
    client = heart.client()
    grant = heart.grant(client)
    jobs = heart.claim(client).due
    heart.set(grant, status="paused")
    assert heart.start(jobs) == []


def test_release_gives_back_only_what_is_still_ours(heart: Heart) -> None:
    client = heart.client()
    grant = heart.grant(client)
    stale = heart.begin(client).job
    heart.until_due(grant)
    heart.begin(client)
    before = heart.picture(grant)
    heart.release((grant, stale.claim_no))
    assert heart.picture(grant) == before


def test_a_commit_that_was_carried_out_and_answered_by_a_reset_is_given_back(heart: Heart) -> None:
    client = heart.client()
    grants = heart.grants(client, 3)
    jobs = heart.claim(client).due
    with _next_commit_is_answered_by_a_reset():
        assert heart.start(jobs) == []
    for grant in grants:
        row = heart.row(grant)
        assert (row["started_at"], row["doubt_since"], row["claim_no"]) == (None, None, 2)
    heart.later(seconds=16)
    assert len(heart.start(heart.claim(client).due)) == 3


def test_a_commit_that_was_not_carried_out_gives_back_nothing_of_others(heart: Heart) -> None:
    client = heart.client()
    grant = heart.grant(client)
    jobs = heart.claim(client).due
    with transaction() as connection:
        elsewhere = register.register(connection, host="elsewhere", process="1")
        attempts.start(connection, jobs, journal_id=elsewhere)
    before = heart.picture(grant)
    refresh._give_back_begun(heart.place, jobs)
    assert heart.picture(grant) == before


def test_a_process_that_was_frozen_between_start_and_send_sends_nothing(heart: Heart) -> None:
    """Its answer could come when another already asks: the deadline must end inside the lease."""
    client = heart.client()
    heart.grant(client)
    attempt = heart.begin(client)
    refresh.check(heart.place, replace(attempt, begun=attempt.begun - timedelta(seconds=29)))
    with pytest.raises(refresh.HeldBack, match="lease_is_too_short"):
        refresh.check(heart.place, replace(attempt, begun=attempt.begun - timedelta(seconds=30.1)))


def test_a_start_begins_all_that_is_ours_in_a_sheaf_and_nothing_else(heart: Heart) -> None:
    client = heart.client()
    grants = heart.grants(client, 4)
    jobs = heart.claim(client).due
    mixed = [jobs[0], (grants[1], 9), jobs[2], (uuid4(), 1), jobs[3]]
    started = {attempt.job.grant_id for attempt in heart.start(mixed)}
    assert started == {jobs[0][0], jobs[2][0], jobs[3][0]}


def test_a_registration_whose_secret_cannot_be_opened_is_given_back_and_not_blamed(heart: Heart) -> None:
    client = heart.client()
    grant = heart.grant(client)
    heart.run("update evergrant.clients set sealed_client_secret = 'x', updated_at = clock_timestamp()")
    assert heart.start(heart.claim(client).due) == []
    row = heart.row(grant)
    assert (row["started_at"], row["failures"], row["suspect_at"]) == (None, 0, None)


def test_a_suspect_at_family_presents_a_former_token_only_once_its_own_was_refused_again(heart: Heart) -> None:
    """Using a spent token there kills the living pair: a suspicion that is false must not cost it."""
    client = heart.client(rotation="family")
    grant = heart.grant(client)
    heart.run("update evergrant.valves set credentials_proven_no = (select credentials_no from evergrant.clients)")
    heart.former(grant, "spent", kind="surplus")
    sent = [heart.sent(heart.ask(client, INVALID_GRANT))]
    for _ in range(2):
        heart.until_due(grant)
        sent.append(heart.sent(heart.ask(client, INVALID_GRANT)))
    assert sent == ["rt-customer-1", "rt-customer-1", "rt-spent"]


def _claimed(heart: Heart, client: int) -> list[Job]:
    return heart.claim(client).due


@contextmanager
def _next_commit_is_answered_by_a_reset() -> Iterator[None]:
    def reset(connection: object) -> None:
        event.remove(engine(), "commit", reset)
        connection.connection.commit()  # type: ignore[attr-defined]
        raise OperationalError("COMMIT", {}, ConnectionResetError())

    event.listen(engine(), "commit", reset)
    try:
        yield
    finally:
        if event.contains(engine(), "commit", reset):
            event.remove(engine(), "commit", reset)


def test_the_tokens_of_an_attempt_arrive_although_its_claim_has_moved_on(heart: Heart) -> None:
    client = heart.client()
    grant = heart.grant(client)
    frozen = heart.begin(client)
    heart.until_due(grant)
    second = heart.begin(client)
    heart.settle((frozen, token_set("late")))
    assert heart.token(grant) == "rt-late"
    heart.settle((second, LOST))
    row = heart.row(grant)
    assert (row["doubt_since"], row["failures"], row["generation"]) == (None, 0, 2)


def test_a_late_token_set_leaves_the_lease_of_the_attempt_that_is_under_way(heart: Heart) -> None:
    """A revocation was claimed at once, and asked beside it."""
    client = heart.client()
    grant = heart.grant(client)
    frozen = heart.begin(client)
    heart.until_due(grant)
    heart.begin(client)
    lease_until = heart.row(grant)["due_at"]
    heart.settle((frozen, token_set("late")))
    assert (heart.token(grant), heart.row(grant)["due_at"]) == ("rt-late", lease_until)
    heart.run("select evergrant.request_revocation('customer')")
    assert heart.claim(client).count == 0
    heart.until_due(grant)
    assert [job[0] for job in heart.claim(client).revocations] == [grant]


def test_while_the_provider_is_asked_no_transaction_is_open_and_no_row_locked(heart: Heart) -> None:
    bench = Bench()
    server = bench.serve(hang)
    client = heart.client(token_url=server.url(), deadline_seconds=2)
    heart.grant(client)
    heart.place.settle_with(keep, settle)
    refresh.ask(heart.place, heart.begin(client))
    eventually(lambda: server.requests)
    open_ones = (
        "select count(*) as n from pg_stat_activity "
        "where state like 'idle in transaction%' and datname = current_database()"
    )
    assert heart.one(open_ones)["n"] == 0
    heart.run("select from evergrant.grants for update nowait")
    bench.close()
