"""Attempts: compare-and-swap on the claim number, whatever is duplicated, late, lost or forged."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from threading import Event
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from models import attempt as attempts
from models import journal as register
from models.claim import Job
from models.database import engine, transaction
from tasks import journal as journals
from tasks import refresh
from tasks.oauth.answer import Answer, HeldBack, NotSent
from tasks.settling import replay
from tasks.settling.settle import journal_answers, settle
from tests.harness import HELD_BACK, INVALID_CLIENT, INVALID_GRANT, LOST, UNREACHABLE, Harness, message, token_set
from tests.polling import eventually
from tests.raw_servers import Bench, answering, hang


@pytest.fixture
def client(harness: Harness) -> int:
    return harness.client()


@pytest.fixture
def grant(harness: Harness, client: int) -> UUID:
    """A grant that is due."""
    return harness.grant(client)


def test_a_started_attempt_has_the_lease_of_its_client_and_names_its_journal(
    harness: Harness, client: int, grant: UUID
) -> None:
    attempt = harness.begin(client)
    row = harness.row(grant)
    assert (row["claim_no"], row["claimed_at"], row["journal_id"]) == (2, None, harness.runtime.journal_id)
    assert row["due_at"] - row["started_at"] == timedelta(seconds=60)
    assert (attempt.job.claim_no, harness.sent(attempt)) == (2, "rt-customer-1")


def test_a_message_that_arrives_ten_times_begins_one_attempt(harness: Harness) -> None:
    client = harness.client()
    harness.grant(client)
    jobs = harness.claim(client).due
    assert [len(harness.start(jobs)) for _ in range(10)] == [1] + [0] * 9


def test_a_message_with_the_same_job_twice_begins_one_attempt(harness: Harness) -> None:
    client = harness.client()
    harness.grant(client)
    (job,) = harness.claim(client).due
    assert harness.runtime.admission.once([job, job]) == [job]
    assert harness.runtime.admission.once([job]) == []


def test_a_message_of_an_older_claim_is_dropped(harness: Harness) -> None:
    client = harness.client()
    harness.grant(client)
    stale = harness.claim(client).due
    harness.later(seconds=31)
    fresh = harness.claim(client).due
    assert harness.start(stale) == []
    assert len(harness.start(fresh)) == 1


def test_a_message_whose_claim_has_lapsed_begins_nothing_for_it_no_longer_counts_against_the_burst(
    harness: Harness,
) -> None:
    client = harness.client()
    harness.grant(client)
    jobs = harness.claim(client).due
    harness.later(hours=1)
    assert harness.start(jobs) == []
    assert len(harness.start(harness.claim(client).due)) == 1


@pytest.mark.parametrize("forged", [-1, 0, 1, 2, 3, 4])
def test_a_forged_message_begins_nothing(harness: Harness, client: int, grant: UUID, forged: int) -> None:
    """Whatever number it says: that of the attempt under way, the next one, an old one."""
    harness.begin(client)
    before = harness.picture(grant)
    assert harness.start([(grant, forged), (uuid4(), forged)]) == []
    assert harness.picture(grant) == before


@pytest.mark.parametrize("forged", [0, 1, 2])
def test_a_forged_message_begins_nothing_where_nothing_was_claimed(
    harness: Harness, client: int, grant: UUID, forged: int
) -> None:
    harness.ask(client, UNREACHABLE)
    harness.until_due(grant)
    assert harness.start([(grant, forged)]) == []


def test_nothing_in_a_message_that_is_no_job_does_harm(harness: Harness) -> None:
    client = harness.client()
    job = harness.grant(client), 1
    nonsense = [None, 7, "x", [], ["x", 1], [str(job[0])], [str(job[0]), "1"], [str(job[0]), 2**63], [str(job[0]), -1]]
    assert refresh.read_jobs([*nonsense, *message([job])]) == [job]
    for no_list in (None, 7, "x", job):
        assert refresh.read_jobs(no_list) == []


def test_an_attempt_that_nobody_ended_is_noted_as_doubt_with_its_journal(
    harness: Harness, client: int, grant: UUID
) -> None:
    harness.begin(client)
    harness.until_due(grant)
    begun = harness.row(grant)["started_at"]
    job = harness.begin(client).job
    assert job.doubt_since == begun
    assert job.journals_undrained
    assert harness.row(grant)["doubt_journals"] == [harness.runtime.journal_id]


@pytest.mark.parametrize(
    ("after_grace", "left", "rejected", "begins"),
    [
        ("family", 40, False, False),
        (None, 40, False, False),
        ("family", -1, False, True),
        ("family", 0.5, False, True),  # that little is handed out to nobody, so nothing waited for its end
        ("family", 40, True, True),  # what applications are refused with does not serve
        ("immediate", 40, False, True),  # there a late repeat ends nothing, so it was not held back for that
    ],
)
def test_at_grace_an_attempt_begins_a_doubt_of_its_own_only_if_it_was_not_held_back_for_its_access_token(
    harness: Harness, after_grace: str | None, left: float, rejected: bool, begins: bool
) -> None:
    client = harness.client(rotation="grace")
    harness.run("update evergrant.clients set after_grace = :after", after=after_grace)
    grant = harness.grant(client, access_left=timedelta(minutes=left))
    harness.run(
        """update evergrant.grants set doubt_since = clock_timestamp() - interval '1 hour',
            rejected_at = case when :rejected then clock_timestamp() end""",
        rejected=rejected,
    )
    harness.begin(client)  # and its process is killed
    harness.until_due(grant)
    row = harness.row(grant)
    assert harness.begin(client).job.doubt_since == (row["started_at"] if begins else row["doubt_since"])


def test_doubt_outlives_later_attempts_and_begins_with_the_first(harness: Harness, client: int, grant: UUID) -> None:
    harness.ask(client, LOST)
    for answer in (UNREACHABLE, HELD_BACK, INVALID_CLIENT, LOST):
        first = harness.row(grant)["doubt_since"]
        harness.until_due(grant)
        harness.run("update evergrant.valves set paused_until = null")
        harness.ask(client, answer)
        assert harness.row(grant)["doubt_since"] < first  # moved with the time that went by, not begun anew
    harness.until_due(grant)
    assert harness.begin(client).job.doubt_since is not None


def test_the_journals_of_several_attempts_in_doubt_are_kept_once_each(
    harness: Harness, client: int, grant: UUID
) -> None:
    elsewhere = _journal_elsewhere()
    for journal in (elsewhere, harness.runtime.journal_id, elsewhere):
        harness.until_due(grant)
        with transaction() as connection:
            attempts.start(connection, _claimed(harness, client), journal_id=journal)
    harness.until_due(grant)
    doubted = harness.row(grant)["doubt_since"]
    harness.begin(client)
    assert harness.row(grant)["doubt_journals"] == [elsewhere, harness.runtime.journal_id]
    assert harness.row(grant)["doubt_since"] == doubted


@pytest.mark.parametrize("answer", [LOST, HELD_BACK])
def test_a_worker_that_lost_its_claim_and_got_no_tokens_takes_its_journal_out_of_the_doubt(
    harness: Harness, client: int, grant: UUID, answer: Answer
) -> None:
    frozen = harness.begin(client)
    elsewhere = _journal_elsewhere()
    harness.until_due(grant)
    with transaction() as connection:
        attempts.start(connection, _claimed(harness, client), journal_id=elsewhere)
    assert harness.row(grant)["doubt_journals"] == [harness.runtime.journal_id]
    harness.settle((frozen, answer))
    row = harness.row(grant)
    assert row["doubt_journals"] == []
    assert row["doubt_since"] is not None
    assert row["started_at"] is not None  # the other's attempt goes on


@pytest.mark.parametrize("answer", [LOST, HELD_BACK])
def test_a_worker_that_got_no_tokens_when_its_grant_was_claimed_anew_and_not_started_lets_nobody_wait_for_it(
    harness: Harness, client: int, grant: UUID, answer: Answer
) -> None:
    """Its claim is lost, and its attempt stands in the row still: whoever starts next would wait while it lives."""
    frozen = harness.begin(client)
    harness.until_due(grant)
    begun = harness.row(grant)["started_at"]  # moved with the time that went by
    claimed = _claimed(harness, client)
    harness.settle((replace(frozen, job=frozen.job._replace(started_at=begun)), answer))
    elsewhere = _journal_elsewhere()
    with transaction() as connection:
        (started,) = attempts.start(connection, claimed, journal_id=elsewhere)
    assert (started.doubt_since, started.journals_undrained) == (begun, False)


@pytest.mark.parametrize("answer", [LOST, HELD_BACK])
def test_a_worker_that_settled_late_and_had_begun_anew_waits_for_itself_no_longer_than_that(
    harness: Harness, client: int, grant: UUID, answer: Answer
) -> None:
    first = harness.begin(client)
    harness.until_due(grant)
    second = harness.begin(client)
    harness.settle((first, answer))
    assert harness.row(grant)["doubt_journals"] == [harness.runtime.journal_id]
    harness.settle((second, answer))
    assert harness.row(grant)["doubt_journals"] == []
    assert harness.row(grant)["doubt_since"] is not None


def test_a_definite_failure_is_no_doubt(harness: Harness, client: int, grant: UUID) -> None:
    harness.ask(client, INVALID_CLIENT)
    row = harness.row(grant)
    assert (row["doubt_since"], row["started_at"], row["failures"]) == (None, None, 1)


def test_an_open_revocation_keeps_a_claimed_refresh_from_beginning(harness: Harness) -> None:
    client = harness.client()
    harness.grant(client)
    jobs = harness.claim(client).due
    harness.run("select evergrant.request_revocation('customer')")
    assert harness.start(jobs) == []


def test_a_grant_that_was_paused_meanwhile_is_not_started(harness: Harness, client: int, grant: UUID) -> None:
    jobs = harness.claim(client).due
    harness.set(grant, status="paused")
    assert harness.start(jobs) == []


def test_release_gives_back_only_what_is_still_ours(harness: Harness, client: int, grant: UUID) -> None:
    stale = harness.begin(client).job
    harness.until_due(grant)
    harness.begin(client)
    before = harness.picture(grant)
    harness.release((grant, stale.claim_no))
    assert harness.picture(grant) == before


def test_a_commit_that_was_carried_out_and_answered_by_a_reset_is_given_back(harness: Harness) -> None:
    client = harness.client()
    grants = harness.grants(client, 3)
    jobs = harness.claim(client).due
    with _next_commit_is_answered_by_a_reset():
        assert harness.start(jobs) == []
    for grant in grants:
        row = harness.row(grant)
        assert (row["started_at"], row["doubt_since"], row["claim_no"]) == (None, None, 2)
    harness.later(seconds=16)
    assert len(harness.start(harness.claim(client).due)) == 3


def test_a_commit_that_was_not_carried_out_gives_back_nothing_of_others(
    harness: Harness, client: int, grant: UUID
) -> None:
    jobs = harness.claim(client).due
    elsewhere = _journal_elsewhere()
    with transaction() as connection:
        attempts.start(connection, jobs, journal_id=elsewhere)
    before = harness.picture(grant)
    refresh._give_back_begun(harness.runtime, jobs)
    assert harness.picture(grant) == before


def test_a_process_that_was_frozen_between_start_and_send_sends_nothing(harness: Harness) -> None:
    """Its answer could come when another already asks: the deadline must end inside the lease."""
    client = harness.client()
    harness.grant(client)
    attempt = harness.begin(client)
    assert refresh.check(harness.runtime, replace(attempt, begun=attempt.begun - timedelta(seconds=29))) is None
    held = refresh.check(harness.runtime, replace(attempt, begun=attempt.begun - timedelta(seconds=30.1)))
    assert held == HeldBack("lease_is_too_short")


def test_a_start_begins_all_that_is_ours_in_a_batch_and_nothing_else(harness: Harness) -> None:
    client = harness.client()
    grants = harness.grants(client, 4)
    jobs = harness.claim(client).due
    mixed = [jobs[0], (grants[1], 9), jobs[2], (uuid4(), 1), jobs[3]]
    started = {attempt.job.grant_id for attempt in harness.start(mixed)}
    assert started == {jobs[0][0], jobs[2][0], jobs[3][0]}


def test_a_registration_whose_secret_cannot_be_opened_is_given_back_and_not_blamed(
    harness: Harness, client: int, grant: UUID
) -> None:
    harness.run("update evergrant.clients set sealed_client_secret = 'x', updated_at = clock_timestamp()")
    assert harness.start(harness.claim(client).due) == []
    row = harness.row(grant)
    assert (row["started_at"], row["failures"], row["suspect_at"]) == (None, 0, None)


def test_a_suspect_at_family_presents_a_former_token_only_once_its_own_was_refused_again(harness: Harness) -> None:
    """Using a spent token there kills the living pair: a suspicion that is false must not cost it."""
    client = harness.client(rotation="family")
    grant = harness.grant(client)
    harness.run("update evergrant.valves set credentials_proven_no = (select credentials_no from evergrant.clients)")
    harness.former(grant, "spent", kind="surplus")
    sent = [harness.sent(harness.ask(client, INVALID_GRANT))]
    for _ in range(2):
        harness.until_due(grant)
        sent.append(harness.sent(harness.ask(client, INVALID_GRANT)))
    assert sent == ["rt-customer-1", "rt-customer-1", "rt-spent"]


@pytest.mark.parametrize(("after_grace", "sent_before"), [("family", 2), ("immediate", 1)])
def test_a_suspect_at_grace_presents_a_former_token_as_what_comes_after_the_grace_allows(
    harness: Harness, after_grace: str, sent_before: int
) -> None:
    client = harness.client(rotation="grace")
    harness.run("update evergrant.clients set after_grace = :after", after=after_grace)
    grant = harness.grant(client)
    harness.run("update evergrant.valves set credentials_proven_no = (select credentials_no from evergrant.clients)")
    harness.former(grant, "spent", kind="surplus")
    sent = []
    for _ in range(sent_before + 1):
        harness.until_due(grant)
        sent.append(harness.sent(harness.ask(client, INVALID_GRANT)))
    assert sent == [*["rt-customer-1"] * sent_before, "rt-spent"]


def _journal_elsewhere() -> int:
    """The journal of a process on another machine."""
    with transaction() as connection:
        return register.register(connection, host="elsewhere", process="1")


def _claimed(harness: Harness, client: int) -> list[Job]:
    return harness.claim(client).due


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


def test_the_tokens_of_an_attempt_arrive_although_its_claim_has_moved_on(
    harness: Harness, client: int, grant: UUID
) -> None:
    frozen = harness.begin(client)
    harness.until_due(grant)
    second = harness.begin(client)
    harness.settle((frozen, token_set("late")))
    assert harness.token(grant) == "rt-late"
    harness.settle((second, LOST))
    row = harness.row(grant)
    assert (row["doubt_since"], row["failures"], row["generation"]) == (None, 0, 2)


def test_a_late_token_set_leaves_the_lease_of_the_attempt_that_is_under_way(
    harness: Harness, client: int, grant: UUID
) -> None:
    """A revocation was claimed at once, and asked beside it."""
    frozen = harness.begin(client)
    harness.until_due(grant)
    harness.begin(client)
    lease_until = harness.row(grant)["due_at"]
    harness.settle((frozen, token_set("late")))
    assert (harness.token(grant), harness.row(grant)["due_at"]) == ("rt-late", lease_until)
    assert harness.start([(grant, harness.row(grant)["claim_no"])]) == [], "nobody has published this number"
    harness.run("select evergrant.request_revocation('customer')")
    assert harness.claim(client).count == 0
    harness.until_due(grant)
    assert [job[0] for job in harness.claim(client).revocations] == [grant]


def test_while_the_provider_is_asked_no_transaction_is_open_and_no_row_locked(harness: Harness) -> None:
    bench = Bench()
    server = bench.serve(hang)
    client = harness.client(token_url=server.url(), deadline_seconds=2)
    harness.grant(client)
    harness.runtime.handle_answers(journal=journal_answers, settle=settle)
    refresh.ask(harness.runtime, harness.begin(client))
    eventually(lambda: server.requests)
    open_ones = (
        "select count(*) as n from pg_stat_activity "
        "where state like 'idle in transaction%' and datname = current_database()"
    )
    assert harness.one(open_ones)["n"] == 0
    harness.run("select from evergrant.grants for update nowait")
    bench.close()


def test_a_whole_token_set_whose_end_never_came_is_journaled_before_anything_else(harness: Harness) -> None:
    """A process that ends here leaves it to whoever replays the journal: at `immediate` it is the only copy."""
    bench = Bench()
    length, body = b"Content-Length: 999", token_set("broken-off").body
    server = bench.serve(answering(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n\r\n" + body))
    client = harness.client(token_url=server.url(), rotation="immediate")
    grant = harness.grant(client)
    arrived = Event()
    harness.runtime.handle_answers(journal=journal_answers, settle=lambda *_: arrived.set())
    refresh.ask(harness.runtime, harness.begin(client))
    assert arrived.wait(30)
    assert harness.token(grant) == "rt-customer-1"
    result = journals.replay(harness.runtime.journal, lambda items: replay.replay(harness.runtime, items))
    assert (result.settled, harness.token(grant), harness.row(grant)["status"]) == (1, "rt-broken-off", "active")
    bench.close()


def test_why_a_certificate_was_refused_is_kept_with_the_error(harness: Harness, client: int, grant: UUID) -> None:
    harness.ask(client, NotSent("tls_certificate", shape="ended"))
    row = harness.row(grant)
    assert (row["last_error_code"], row["last_error_shape"]) == ("tls_certificate", "ended")
