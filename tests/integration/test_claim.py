"""Claims: beat takes due rows by number, within a lease, and nobody else's."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from models import claim as claims
from models.client import lock_valves
from models.database import transaction
from tests.harness import BUSY, HELD_BACK, LEASE, LOST, Harness, token_set


def test_a_due_grant_is_claimed_with_the_next_number_for_the_dispatch_lease(harness: Harness) -> None:
    client = harness.client()
    grant = harness.grant(client)
    (job,) = harness.claim(client).due
    row = harness.row(grant)
    assert job == (grant, 1) == (row["id"], row["claim_no"])
    assert row["due_at"] - row["claimed_at"] == LEASE
    assert row["started_at"] is None


def test_a_grant_that_is_not_due_is_left_alone(harness: Harness) -> None:
    client = harness.client()
    harness.grant(client, due_in=timedelta(seconds=60))
    assert harness.claim(client).count == 0
    assert client not in harness.looks_at()


def test_the_longest_overdue_go_first(harness: Harness) -> None:
    client = harness.client()
    grants = harness.grants(client, 5)
    assert {grant for grant, _ in harness.claim(client, most=3).due} == set(grants[:3])
    assert {grant for grant, _ in harness.claim(client, most=2).due} == set(grants[3:])


def test_a_client_whose_valve_is_held_by_a_settle_is_looked_at_again_at_once(harness: Harness) -> None:
    client = harness.client()
    harness.grant(client)
    with transaction() as settling:
        lock_valves(settling, [client])
        claimed = harness.claim(client)
    assert claimed.count == 0
    assert claimed.again_in == timedelta(milliseconds=50)
    assert harness.claim(client).count == 1


def test_a_claimed_grant_is_not_claimed_again_within_its_lease(harness: Harness) -> None:
    client = harness.client()
    harness.grant(client)
    assert harness.claim(client).count == 1
    harness.later(seconds=29)
    assert harness.claim(client).count == 0


def test_a_claim_that_nobody_starts_is_claimed_again_when_its_lease_is_over(harness: Harness) -> None:
    client = harness.client()
    grant = harness.grant(client)
    first = harness.claim(client).due
    harness.later(seconds=31)
    assert harness.claim(client).due == [(grant, 2)]
    assert harness.start(first) == []


def test_an_orphaned_attempt_is_claimed_again_when_its_lease_is_over(harness: Harness) -> None:
    client = harness.client()
    grant = harness.grant(client)
    attempt = harness.begin(client)
    lease = attempt.job.lease_until - attempt.job.started_at
    harness.later(seconds=lease.total_seconds() - 0.5)
    assert harness.claim(client).count == 0
    harness.later(seconds=1)
    assert harness.claim(client).due == [(grant, 3)]


def test_a_row_that_a_stranger_has_locked_is_skipped_and_the_others_are_claimed(harness: Harness) -> None:
    client = harness.client()
    first, second = harness.grants(client, 2)
    with transaction() as stranger:
        stranger.exec_driver_sql(f"select from evergrant.grants where id = '{first}' for update")
        assert [grant for grant, _ in harness.claim(client).due] == [second]


def test_a_paused_or_dead_grant_is_not_claimed(harness: Harness) -> None:
    client = harness.client()
    for status in ("paused", "needs_consent", "revoking", "revoked"):
        harness.grant(client, status, status=status)
    assert harness.claim(client).count == 0


def test_a_grant_whose_revocation_was_asked_for_is_claimed_for_that_alone(harness: Harness) -> None:
    """As a refresh it would fail at start, and keep the revocation waiting for the lease to lapse."""
    client = harness.client(rate=60)
    grant = harness.grant(client)
    harness.run("select evergrant.request_revocation('customer')")
    harness.run("update evergrant.valves set slot_no = 1")  # the slot that is offered first to failing grants
    claimed = harness.claim(client)
    assert (claimed.due, claimed.revocations) == ([], [(grant, 1)])
    assert harness.row(grant)["status"] == "revoking"


def test_a_revocation_waits_while_a_refresh_is_under_way(harness: Harness) -> None:
    client = harness.client()
    grant = harness.grant(client)
    attempt = harness.begin(client)
    harness.run("select evergrant.request_revocation('customer')")
    assert harness.claim(client).count == 0
    harness.settle((attempt, token_set("2")))
    assert harness.token(grant) == "rt-2"
    assert [job[0] for job in harness.claim(client).revocations] == [grant]


def test_a_claim_that_could_not_be_published_does_not_forget_an_attempt_that_nobody_ended(harness: Harness) -> None:
    """Else the doubt would be lost, and with it the reason to wait for the journal that may hold the answer."""
    client = harness.client()
    grant = harness.grant(client)
    begun = harness.begin(client).job.started_at
    harness.until_due(grant)
    begun = harness.row(grant)["started_at"]
    (job,) = harness.claim(client).due
    harness.release(job)
    assert harness.row(grant)["started_at"] == begun
    harness.until_due(grant)
    attempt = harness.begin(client)
    assert attempt.job.doubt_since is not None
    assert harness.row(grant)["doubt_journals"] == [harness.runtime.journal_id]


def test_beat_looks_again_at_once_while_more_is_due_than_it_took(harness: Harness) -> None:
    client = harness.client()
    harness.grants(client, 3)
    assert harness.claim(client, most=2).again_in == timedelta(milliseconds=50)
    assert harness.claim(client, most=2).again_in is None


def test_a_grace_repeat_goes_at_once_although_the_valve_is_shut(harness: Harness) -> None:
    client = harness.client(rotation="grace")
    grant = harness.grant(client)
    harness.ask(client, BUSY)
    assert harness.valve(client)["paused_until"] is not None
    assert client in harness.looks_at()
    assert harness.claim(client).due == [(grant, 3)]


def test_a_look_at_an_open_valve_reads_no_fleet_to_find_a_grace_repeat(harness: Harness) -> None:
    client = harness.client(rotation="grace")
    harness.grant(client)
    harness.run(
        """insert into evergrant.grants (id, client_id, ref, status, generation, sealed_refresh_token,
            refresh_fingerprint, due_at, claim_no)
        select gen_random_uuid(), client_id, 'other-' || n, 'active', 1, sealed_refresh_token,
            sha256(n::text::bytea), due_at, 0
        from evergrant.grants, generate_series(1, 3000) n"""
    )
    harness.run("analyze evergrant.grants")
    with transaction() as connection:
        explain = text(f"explain (analyze, format json) {claims.LOOK}")
        plan = connection.execute(explain, {"now": None, "environment": None}).scalar_one()[0]["Plan"]
    assert _rows_looked_at(plan) < 10


def _rows_looked_at(plan: dict[str, Any]) -> float:
    """How many grants a plan has read, those that it left out included."""
    mine = 0.0
    if plan.get("Relation Name") == "grants":
        mine = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    return mine + sum(map(_rows_looked_at, plan.get("Plans", [])))


def test_a_grace_repeat_whose_message_is_lost_is_claimed_again_while_the_grace_lasts(harness: Harness) -> None:
    """The grace is two minutes at the least where an attempt may last one: four chances, not two."""
    client = harness.client(rotation="grace")
    grant = harness.grant(client)
    harness.ask(client, LOST)
    for _ in range(3):
        assert [job[0] for job in harness.claim(client).due] == [grant]
        harness.later(seconds=16)


def test_a_second_grace_repeat_waits_for_the_back_off_and_the_valve(harness: Harness) -> None:
    client = harness.client(rotation="grace")
    grant = harness.grant(client)
    harness.ask(client, LOST)
    harness.ask(client, BUSY)
    assert harness.claim(client).count == 0
    harness.until_due(grant)
    harness.run("update evergrant.valves set paused_until = clock_timestamp() + interval '1 minute'")
    assert harness.claim(client).count == 0


def test_at_grace_an_attempt_that_is_lost_long_after_the_first_is_repeated_at_once(harness: Harness) -> None:
    """The first one was never processed, for it would be refused: this is the first use, and its grace begins now."""
    client = harness.client(rotation="grace")
    grant = harness.grant(client)
    harness.ask(client, LOST)
    harness.ask(client, BUSY)
    for outcome in (BUSY, None):  # or its worker dies
        harness.later(seconds=90)
        harness.run("update evergrant.grants set access_expires_at = clock_timestamp()")  # it waited for that
        harness.run("update evergrant.valves set paused_until = null")
        attempt = harness.begin(client)
        assert attempt.job.doubt_repeated
        if outcome is not None:
            harness.settle((attempt, outcome))
        harness.until_due(grant)
        harness.run("update evergrant.valves set paused_until = clock_timestamp() + interval '1 minute'")
        repeat = harness.begin(client).job
        assert repeat.doubt_since
        assert repeat.started_at - repeat.doubt_since < timedelta(seconds=30)
        assert not repeat.doubt_repeated
        harness.settle((replace(attempt, job=repeat), LOST))
        assert harness.row(grant)["doubt_repeated"]


def test_what_the_guard_gave_back_is_due_again_within_seconds(harness: Harness) -> None:
    client = harness.client()
    grant = harness.grant(client)
    harness.ask(client, HELD_BACK)
    row = harness.row(grant)
    assert (row["started_at"], row["doubt_since"], row["failures"]) == (None, None, 0)
    harness.later(seconds=4.9)
    assert harness.claim(client).count == 0
    harness.later(seconds=10.2)
    assert harness.claim(client).due == [(grant, 3)]
