"""Valves as rows: what beat may claim, what shuts a client, and the one request that may open it."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from models import claim as claims
from models import client as clients
from models.database import transaction
from tasks import refresh
from tasks.claim import claim
from tasks.oauth.answer import HeldBack, Response
from tasks.policy.valve import MOST_OWED, OTHERS, TOLERANCE, USABLE_SHARE, take
from tasks.runtime import clock, valves
from tests.harness import BUSY, GATEWAY, INVALID_GRANT, LEASE, TOO_MANY, UNREACHABLE, Harness, token_set


def test_the_budget_is_the_burst_less_what_is_under_way(harness: Harness) -> None:
    client = harness.client(burst=20)
    harness.grants(client, 50)
    first = harness.claim(client).due
    assert len(first) == 20
    assert harness.claim(client).count == 0
    started = harness.start(first[:5])
    assert harness.claim(client).count == 0
    harness.settle(*[(attempt, token_set(attempt.job.ref)) for attempt in started])
    assert harness.claim(client).count == 5


def test_a_lapsed_lease_counts_for_nothing(harness: Harness) -> None:
    """No worker for ten minutes: what was published meanwhile is one burst, not ten minutes of them."""
    client = harness.client(burst=20)
    harness.grants(client, 50)
    for _ in range(20):
        harness.claim(client)
        harness.later(seconds=31)
    under_way = "select count(*) as n from evergrant.grants where claimed_at is not null and due_at > clock_timestamp()"
    assert harness.one(under_way)["n"] == 0
    assert harness.claim(client).count == 20


def test_a_rate_is_never_exceeded_in_any_minute(harness: Harness) -> None:
    client = harness.client(rate=100)
    harness.grants(client, 300)
    noon, claimed = clock.wall(), []
    for half_second in range(240):
        now = noon + timedelta(milliseconds=500 * half_second)
        with transaction() as connection:
            claimed.append(claim(connection, client, lease=timedelta(seconds=1), now=now).count)
    windows = [sum(claimed[n : n + 120]) for n in range(120)]
    assert min(windows) >= 85
    assert max(windows) <= 100


def test_what_beat_did_not_budget_takes_its_slot_from_the_rate(harness: Harness) -> None:
    client = harness.client(rate=60)
    harness.grants(client, 5)
    with transaction() as connection:
        for _ in range(5):
            clients.debit(connection, client, usable_share=USABLE_SHARE)
    assert harness.claim(client).count == 0
    harness.later(seconds=6)
    assert harness.claim(client).count > 0


@pytest.mark.parametrize("slot_no", [0, 1, 3, 4, 1002, -1, -5, -58, -60])
def test_a_further_request_of_a_revocation_is_owed_for_as_a_claim_of_one_is(harness: Harness, slot_no: int) -> None:
    client = harness.client(rate=1)
    harness.run("update evergrant.valves set slot_no = :slot_no", slot_no=slot_no)
    with transaction() as connection:
        row = claims.lock_valve(connection, client)
        assert row is not None
        assert clients.has_slot(connection, client, tolerance=TOLERANCE)
        clients.debit_revocation(connection, client, usable_share=USABLE_SHARE, others=OTHERS, most_owed=MOST_OWED)
        assert not clients.has_slot(connection, client, tolerance=TOLERANCE)
    taken = take(valves.of_row(row), at=row["at"], count=1, revocations=1)
    assert harness.valve(client)["slot_no"] == taken.slot_no


def test_429_shuts_the_valve_for_as_long_as_the_provider_says(harness: Harness) -> None:
    client = harness.client()
    harness.grants(client, 3)
    harness.settle((harness.start(harness.claim(client, most=1).due)[0], TOO_MANY))
    assert harness.claim(client).count == 0
    assert client not in harness.looks_at()
    assert harness.events(type="client.paused") == ["client.paused"]
    harness.later(seconds=7.1)
    assert harness.claim(client).count == 1


def test_429_costs_a_grant_neither_a_failure_nor_a_doubt_and_503_leaves_a_doubt(harness: Harness) -> None:
    client = harness.client()
    grant = harness.grant(client)
    harness.ask(client, TOO_MANY)
    row = harness.row(grant)
    assert (row["failures"], row["doubt_since"]) == (0, None)
    harness.later(seconds=16)
    harness.ask(client, BUSY)
    row = harness.row(grant)
    assert row["failures"] == 1
    assert row["doubt_since"] is not None


@pytest.mark.parametrize("answer", [GATEWAY, UNREACHABLE])
def test_three_bad_ends_in_a_row_on_different_grants_shut_the_valve(harness: Harness, answer: Any) -> None:
    client = harness.client()
    harness.grants(client, 6)
    started = harness.start(harness.claim(client, most=3).due)
    harness.settle(*[(attempt, answer) for attempt in started[:2]])
    assert harness.valve(client)["paused_until"] is None
    harness.settle((started[2], answer))
    assert harness.valve(client)["paused_until"] is not None
    assert harness.claim(client).count == 0


def test_one_grant_that_fails_again_and_again_shuts_nothing(harness: Harness) -> None:
    client = harness.client()
    grant = harness.grant(client)
    for _ in range(6):
        harness.until_due(grant)
        harness.ask(client, GATEWAY)
    assert harness.valve(client)["paused_until"] is None


def test_refusals_of_grants_shut_nothing(harness: Harness) -> None:
    client = harness.client()
    harness.run("update evergrant.valves set credentials_proven_no = 1")
    harness.grants(client, 10)
    harness.settle(*[(attempt, INVALID_GRANT) for attempt in harness.start(harness.claim(client).due)])
    assert harness.valve(client)["paused_until"] is None


def shut(harness: Harness, client: int) -> None:
    """Let the valve have been shut, and its pause have ended just now."""
    harness.run(
        """update evergrant.valves set paused_until = clock_timestamp(), pause_reason = 'http_502', pause_seconds = 5,
            changed_at = clock_timestamp() - interval '5 s' where client_id = :client""",
        client=client,
    )


def paused_for(harness: Harness, client: int) -> float:
    query = "select extract(epoch from paused_until - clock_timestamp()) as s from evergrant.valves"
    return float(harness.one(query)["s"])


def test_the_canary_is_one_request_and_moves_the_pause_on_as_it_is_taken(harness: Harness) -> None:
    client = harness.client()
    harness.grants(client, 9)
    shut(harness, client)
    waits = []
    for _ in range(8):
        assert len(harness.start(harness.claim(client).due)) == 1
        assert harness.claim(client).count == 0
        waits.append(round(paused_for(harness, client)))
        harness.later(seconds=waits[-1])
    assert waits == [10, 20, 40, 80, 160, 300, 300, 300]


def test_a_canary_that_the_broker_forgot_costs_no_more_than_its_claim(harness: Harness) -> None:
    """It was never sent, so nobody has asked the provider: to wait five minutes for that would be for nothing."""
    client = harness.client()
    harness.grants(client, 3)
    shut(harness, client)
    harness.run("update evergrant.valves set pause_seconds = 80")
    (forgotten,) = harness.claim(client).due
    harness.later(seconds=LEASE.total_seconds() - 1)
    assert harness.looks_at() == []
    assert harness.claim(client).count == 0
    harness.later(seconds=2)
    assert harness.looks_at() == [client]
    (canary,) = harness.claim(client).due
    assert canary[0] != forgotten[0]
    assert round(paused_for(harness, client)) == 160
    assert harness.start([forgotten]) == []  # a lapsed claim starts nothing
    harness.start([canary])
    harness.later(seconds=100)
    assert harness.looks_at() == []
    assert harness.claim(client).count == 0


def test_where_the_provider_asked_to_wait_a_canary_that_was_forgotten_is_not_followed_sooner(harness: Harness) -> None:
    client = harness.client()
    _, other = harness.grants(client, 2)
    (early,) = harness.start([job for job in harness.claim(client).due if job[0] == other])
    shut(harness, client)
    harness.run("update evergrant.grants set claimed_at = null, due_at = clock_timestamp() where id <> :id", id=other)
    harness.run("update evergrant.valves set changed_at = changed_at - interval '1 hour'")
    (_,) = harness.claim(client).due
    harness.settle((early, Response(429, {"retry-after": "90"}, b"")))
    harness.later(seconds=LEASE.total_seconds() + 1)
    assert harness.looks_at() == []
    assert harness.claim(client).count == 0
    harness.later(seconds=60)
    assert harness.claim(client).count == 1


@pytest.mark.parametrize("answer", [BUSY, GATEWAY, UNREACHABLE])
def test_a_canary_that_fails_does_not_shorten_the_pause(harness: Harness, answer: Any) -> None:
    """At `immediate` each one may cost a grant: an hour of 503 must not mean one every five seconds."""
    client = harness.client(rotation="immediate")
    harness.grants(client, 9)
    shut(harness, client)
    waits = []
    for _ in range(6):
        harness.settle((harness.start(harness.claim(client).due)[0], answer))
        waits.append(round(paused_for(harness, client)))
        harness.later(seconds=waits[-1])
    assert waits == [10, 20, 40, 80, 160, 300]


def test_the_canary_may_be_sent_and_others_that_were_claimed_before_may_not(harness: Harness) -> None:
    client = harness.client()
    harness.grants(client, 3)
    waiting = harness.claim(client, most=1).due
    shut(harness, client)
    canary = harness.claim(client).due
    (held,) = harness.start(waiting)
    (free,) = harness.start(canary)
    assert refresh.check(harness.runtime, free) is None
    assert refresh.check(harness.runtime, held) == HeldBack("valve_is_shut")


def test_a_success_of_the_canary_opens_the_valve(harness: Harness) -> None:
    client = harness.client()
    harness.grants(client, 5)
    shut(harness, client)
    harness.settle((harness.start(harness.claim(client).due)[0], token_set("2")))
    valve = harness.valve(client)
    assert (valve["paused_until"], valve["pause_seconds"], valve["canary_grant_id"]) == (None, 0, None)
    assert harness.events(type="client.resumed") == ["client.resumed"]
    assert harness.claim(client).count == 4


@pytest.mark.parametrize("answer", [token_set("2"), GATEWAY, TOO_MANY])
def test_what_was_begun_before_the_valve_changed_neither_opens_nor_shuts_it(harness: Harness, answer: Any) -> None:
    client = harness.client()
    harness.grants(client, 2)
    (early,) = harness.start(harness.claim(client, most=1).due)
    harness.run(
        """update evergrant.valves set paused_until = clock_timestamp() + interval '5 s', pause_seconds = 5,
            changed_at = clock_timestamp()"""
    )
    before = harness.valve(client)
    harness.settle((early, answer))
    after = harness.valve(client)
    watched = ("paused_until", "pause_seconds", "changed_at", "strike_grant_ids")
    assert [after[name] for name in watched] == [before[name] for name in watched]


def test_the_canary_is_picked_among_the_well_and_is_never_twice_the_same_unless_alone(harness: Harness) -> None:
    client = harness.client()
    doubtful, last, failing, well = harness.grants(client, 4)
    harness.set(doubtful, doubt_since=harness.row(doubtful)["due_at"])
    harness.set(failing, failures=2)
    harness.run("update evergrant.valves set canary_grant_id = :last", last=last)
    picked: list[UUID] = []
    for _ in range(4):
        shut(harness, client)
        (job,) = harness.claim(client).due
        picked.append(job[0])
        harness.set(job[0], status="paused")
        harness.run("update evergrant.valves set canary_grant_id = :last", last=last)
    assert picked == [well, failing, last, doubtful]


def test_a_suspect_is_the_canary_only_where_nothing_else_is_due(harness: Harness) -> None:
    """A refusal opens nothing, so the next look at the provider would come no sooner than after twice the pause."""
    client = harness.client()
    suspect, doubtful = harness.grants(client, 2)
    harness.set(suspect, suspect_at=harness.row(suspect)["due_at"])
    harness.set(doubtful, doubt_since=harness.row(doubtful)["due_at"])
    picked = []
    for _ in range(2):
        shut(harness, client)
        picked += [grant for grant, _ in harness.claim(client).due]
    assert picked == [doubtful, suspect]


def test_a_grant_whose_last_attempt_nobody_ended_is_no_first_choice_for_a_canary(harness: Harness) -> None:
    client = harness.client()
    orphaned, well = harness.grants(client, 2)
    harness.set(orphaned, started_at=harness.row(orphaned)["created_at"], journal_id=harness.runtime.journal_id)
    shut(harness, client)
    assert [grant for grant, _ in harness.claim(client).due] == [well]


def test_a_revocation_or_a_refresh_request_may_be_the_canary_where_nothing_is_due(harness: Harness) -> None:
    client = harness.client()
    harness.grant(client, "requested", due_in=timedelta(hours=1))
    harness.grant(client, "unwanted", due_in=timedelta(hours=1))
    harness.run("select evergrant.request_refresh('requested'), evergrant.request_revocation('unwanted')")
    shut(harness, client)
    first = harness.claim(client)
    assert (first.count, len(first.revocations)) == (1, 1)
    shut(harness, client)
    second = harness.claim(client)
    assert (second.count, len(second.requested)) == (1, 1)


def test_an_operators_pause_stops_everything_but_revocations(harness: Harness) -> None:
    client = harness.client()
    harness.grant(client, "due")
    harness.grant(client, "requested", due_in=timedelta(hours=1))
    ending = harness.grant(client, "ending", due_in=timedelta(hours=1))
    early = harness.claim(client, most=1).due
    harness.run("select evergrant.request_refresh('requested'), evergrant.request_revocation('ending')")
    harness.run("update evergrant.valves set paused_by_operator = true")
    (held,) = harness.start(early)
    assert held.job.client_paused
    assert client in harness.looks_at()
    claimed = harness.claim(client)
    assert (claimed.due, claimed.requested) == ([], [])
    assert [grant for grant, _ in claimed.revocations] == [ending]
    assert not harness.start(claimed.revocations, status="revoking")[0].job.client_paused


def test_of_four_slots_one_is_for_revocations_one_for_failing_grants_and_refresh_requests_come_first_in_the_others(
    harness: Harness,
) -> None:
    client = harness.client(burst=8)
    failing = harness.grants(client, 8, failures=1)
    harness.run("update evergrant.grants set ref = 'failing-' || ref, due_at = due_at - interval '1 hour'")
    due = [harness.grant(client, f"due-{n}", due_in=timedelta(hours=-2)) for n in range(8)]
    for n in range(8):
        harness.grant(client, f"requested-{n}", due_in=timedelta(hours=1))
        harness.grant(client, f"ending-{n}", due_in=timedelta(hours=1))
        harness.run(f"select evergrant.request_refresh('requested-{n}'), evergrant.request_revocation('ending-{n}')")
    claimed = harness.claim(client)
    assert (len(claimed.revocations), len(claimed.requested), len(claimed.due)) == (2, 4, 2)
    assert {grant for grant, _ in claimed.due} <= set(failing)
    harness.run("update evergrant.grants set claimed_at = null; delete from evergrant.refresh_requests")
    harness.run("delete from evergrant.revocations where status = 'queued'")
    claimed = harness.claim(client)
    assert len(claimed.due) == 8
    assert len({grant for grant, _ in claimed.due} & set(failing)) == 2
    assert len({grant for grant, _ in claimed.due} & set(due)) == 6


def test_what_one_side_cannot_use_the_others_get(harness: Harness) -> None:
    client = harness.client(burst=8)
    for n in range(8):
        harness.grant(client, f"ending-{n}", due_in=timedelta(hours=1))
        harness.run(f"select evergrant.request_revocation('ending-{n}')")
    assert len(harness.claim(client).revocations) == 8


def test_two_beats_at_once_leave_a_client_to_the_first(harness: Harness) -> None:
    client = harness.client()
    harness.grants(client, 3)
    with transaction() as other:
        other.exec_driver_sql("select from evergrant.valves for no key update")
        assert harness.claim(client).count == 0
    assert harness.claim(client).count == 3


def test_one_clients_shut_valve_holds_no_other_client(harness: Harness) -> None:
    shut_client, other = harness.client("shut"), harness.client("other")
    harness.grant(shut_client)
    harness.grant(other, "elsewhere")
    harness.settle((harness.begin(shut_client), TOO_MANY))
    assert harness.looks_at() == [other]
    assert harness.claim(other).count == 1
