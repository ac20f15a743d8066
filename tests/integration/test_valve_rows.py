"""Valves as rows: what beat may claim, what shuts a client, and the one request that may open it."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from models import client as clients
from models.database import transaction
from tasks import clock, refresh
from tasks.claim import claim
from tasks.policy.valve import USABLE_SHARE
from tests.harness import BUSY, GATEWAY, INVALID_CLIENT, INVALID_GRANT, TOO_MANY, UNREACHABLE, Heart, token_set


def test_the_budget_is_the_burst_less_what_is_under_way(heart: Heart) -> None:
    client = heart.client(burst=20)
    heart.grants(client, 50)
    first = heart.claim(client).due
    assert len(first) == 20
    assert heart.claim(client).count == 0
    started = heart.start(first[:5])
    assert heart.claim(client).count == 0
    heart.settle(*[(attempt, token_set(attempt.job.ref)) for attempt in started])
    assert heart.claim(client).count == 5


def test_a_lapsed_lease_counts_for_nothing(heart: Heart) -> None:
    """No worker for ten minutes: what was published meanwhile is one burst, not ten minutes of them."""
    client = heart.client(burst=20)
    heart.grants(client, 50)
    for _ in range(20):
        heart.claim(client)
        heart.later(seconds=31)
    under_way = "select count(*) as n from evergrant.grants where claimed_at is not null and due_at > clock_timestamp()"
    assert heart.one(under_way)["n"] == 0
    assert heart.claim(client).count == 20


def test_a_rate_is_never_exceeded_in_any_minute(heart: Heart) -> None:
    client = heart.client(rate=100)
    heart.grants(client, 300)
    noon, claimed = clock.wall(), []
    for half_second in range(240):
        now = noon + timedelta(milliseconds=500 * half_second)
        with transaction() as connection:
            claimed.append(claim(connection, client, lease=timedelta(seconds=1), now=now).count)
    windows = [sum(claimed[n : n + 120]) for n in range(120)]
    assert min(windows) >= 85
    assert max(windows) <= 100


def test_what_beat_did_not_budget_takes_its_slot_from_the_rate(heart: Heart) -> None:
    client = heart.client(rate=60)
    heart.grants(client, 5)
    with transaction() as connection:
        for _ in range(5):
            clients.debit(connection, client, usable_share=USABLE_SHARE)
    assert heart.claim(client).count == 0
    heart.later(seconds=6)
    assert heart.claim(client).count > 0


def test_429_shuts_the_valve_for_as_long_as_the_provider_says(heart: Heart) -> None:
    client = heart.client()
    heart.grants(client, 3)
    heart.settle((heart.start(heart.claim(client, most=1).due)[0], TOO_MANY))
    assert heart.claim(client).count == 0
    assert client not in heart.looks_at()
    assert heart.events(type="client.paused") == ["client.paused"]
    heart.later(seconds=7.1)
    assert heart.claim(client).count == 1


def test_429_costs_a_grant_neither_a_failure_nor_a_doubt_and_503_leaves_a_doubt(heart: Heart) -> None:
    client = heart.client()
    grant = heart.grant(client)
    heart.ask(client, TOO_MANY)
    row = heart.row(grant)
    assert (row["failures"], row["doubt_since"]) == (0, None)
    heart.later(seconds=16)
    heart.ask(client, BUSY)
    row = heart.row(grant)
    assert row["failures"] == 1
    assert row["doubt_since"] is not None


@pytest.mark.parametrize("answer", [GATEWAY, UNREACHABLE, INVALID_CLIENT])
def test_three_bad_ends_in_a_row_on_different_grants_shut_the_valve(heart: Heart, answer: Any) -> None:
    client = heart.client()
    heart.grants(client, 6)
    started = heart.start(heart.claim(client, most=3).due)
    heart.settle(*[(attempt, answer) for attempt in started[:2]])
    assert heart.valve(client)["paused_until"] is None
    heart.settle((started[2], answer))
    assert heart.valve(client)["paused_until"] is not None
    assert heart.claim(client).count == 0


def test_one_grant_that_fails_again_and_again_shuts_nothing(heart: Heart) -> None:
    client = heart.client()
    grant = heart.grant(client)
    for _ in range(6):
        heart.until_due(grant)
        heart.ask(client, GATEWAY)
    assert heart.valve(client)["paused_until"] is None


def test_refusals_of_grants_shut_nothing(heart: Heart) -> None:
    client = heart.client()
    heart.run("update evergrant.valves set credentials_proven_no = 1")
    heart.grants(client, 10)
    heart.settle(*[(attempt, INVALID_GRANT) for attempt in heart.start(heart.claim(client).due)])
    assert heart.valve(client)["paused_until"] is None


def shut(heart: Heart, client: int) -> None:
    """Let the valve have been shut, and its pause have ended just now."""
    heart.run(
        """update evergrant.valves set paused_until = clock_timestamp(), pause_reason = 'http_502', pause_seconds = 5,
            changed_at = clock_timestamp() - interval '5 s' where client_id = :client""",
        client=client,
    )


def paused_for(heart: Heart, client: int) -> float:
    query = "select extract(epoch from paused_until - clock_timestamp()) as s from evergrant.valves"
    return float(heart.one(query)["s"])


def test_the_canary_is_one_request_and_moves_the_pause_on_as_it_is_taken(heart: Heart) -> None:
    client = heart.client()
    heart.grants(client, 9)
    shut(heart, client)
    waits = []
    for _ in range(8):
        assert heart.claim(client).count == 1
        assert heart.claim(client).count == 0
        waits.append(round(paused_for(heart, client)))
        heart.later(seconds=waits[-1])
    assert waits == [10, 20, 40, 80, 160, 300, 300, 300]


@pytest.mark.parametrize("answer", [BUSY, GATEWAY, UNREACHABLE])
def test_a_canary_that_fails_does_not_shorten_the_pause(heart: Heart, answer: Any) -> None:
    """At `immediate` each one may cost a grant: an hour of 503 must not mean one every five seconds."""
    client = heart.client(rotation="immediate")
    heart.grants(client, 9)
    shut(heart, client)
    waits = []
    for _ in range(6):
        heart.settle((heart.start(heart.claim(client).due)[0], answer))
        waits.append(round(paused_for(heart, client)))
        heart.later(seconds=waits[-1])
    assert waits == [10, 20, 40, 80, 160, 300]


def test_the_canary_may_be_sent_and_others_that_were_claimed_before_may_not(heart: Heart) -> None:
    client = heart.client()
    heart.grants(client, 3)
    waiting = heart.claim(client, most=1).due
    shut(heart, client)
    canary = heart.claim(client).due
    (held,) = heart.start(waiting)
    (free,) = heart.start(canary)
    refresh.check(heart.place, free)
    with pytest.raises(refresh.HeldBack):
        refresh.check(heart.place, held)


def test_a_success_of_the_canary_opens_the_valve(heart: Heart) -> None:
    client = heart.client()
    heart.grants(client, 5)
    shut(heart, client)
    heart.settle((heart.start(heart.claim(client).due)[0], token_set("2")))
    valve = heart.valve(client)
    assert (valve["paused_until"], valve["pause_seconds"], valve["canary_grant_id"]) == (None, 0, None)
    assert heart.events(type="client.resumed") == ["client.resumed"]
    assert heart.claim(client).count == 4


@pytest.mark.parametrize("answer", [token_set("2"), GATEWAY, TOO_MANY])
def test_what_was_begun_before_the_valve_changed_neither_opens_nor_shuts_it(heart: Heart, answer: Any) -> None:
    client = heart.client()
    heart.grants(client, 2)
    (early,) = heart.start(heart.claim(client, most=1).due)
    heart.run(
        """update evergrant.valves set paused_until = clock_timestamp() + interval '5 s', pause_seconds = 5,
            changed_at = clock_timestamp()"""
    )
    before = heart.valve(client)
    heart.settle((early, answer))
    after = heart.valve(client)
    watched = ("paused_until", "pause_seconds", "changed_at", "strike_grant_ids")
    assert [after[name] for name in watched] == [before[name] for name in watched]


def test_the_canary_is_picked_among_the_well_and_is_never_twice_the_same_unless_alone(heart: Heart) -> None:
    client = heart.client()
    doubtful, last, failing, well = heart.grants(client, 4)
    heart.set(doubtful, doubt_since=heart.row(doubtful)["due_at"])
    heart.set(failing, failures=2)
    heart.run("update evergrant.valves set canary_grant_id = :last", last=last)
    picked: list[UUID] = []
    for _ in range(4):
        shut(heart, client)
        (job,) = heart.claim(client).due
        picked.append(job[0])
        heart.set(job[0], status="paused")
        heart.run("update evergrant.valves set canary_grant_id = :last", last=last)
    assert picked == [well, failing, last, doubtful]


def test_a_suspect_is_the_canary_only_where_nothing_else_is_due(heart: Heart) -> None:
    """A refusal opens nothing, so the next look at the provider would come no sooner than after twice the pause."""
    client = heart.client()
    suspect, doubtful = heart.grants(client, 2)
    heart.set(suspect, suspect_at=heart.row(suspect)["due_at"])
    heart.set(doubtful, doubt_since=heart.row(doubtful)["due_at"])
    picked = []
    for _ in range(2):
        shut(heart, client)
        picked += [grant for grant, _ in heart.claim(client).due]
    assert picked == [doubtful, suspect]


def test_a_grant_whose_last_attempt_nobody_ended_is_no_first_choice_for_a_canary(heart: Heart) -> None:
    client = heart.client()
    orphaned, well = heart.grants(client, 2)
    heart.set(orphaned, started_at=heart.row(orphaned)["created_at"], journal_id=heart.place.journal_id)
    shut(heart, client)
    assert [grant for grant, _ in heart.claim(client).due] == [well]


def test_a_revocation_or_a_wish_may_be_the_canary_where_nothing_is_due(heart: Heart) -> None:
    client = heart.client()
    heart.grant(client, "wished", due_in=timedelta(hours=1))
    heart.grant(client, "unwanted", due_in=timedelta(hours=1))
    heart.run("select evergrant.request_refresh('wished'), evergrant.request_revocation('unwanted')")
    shut(heart, client)
    first = heart.claim(client)
    assert (first.count, len(first.revocations)) == (1, 1)
    shut(heart, client)
    second = heart.claim(client)
    assert (second.count, len(second.wished)) == (1, 1)


def test_an_operators_pause_stops_everything_but_revocations(heart: Heart) -> None:
    client = heart.client()
    heart.grant(client, "due")
    heart.grant(client, "wished", due_in=timedelta(hours=1))
    ending = heart.grant(client, "ending", due_in=timedelta(hours=1))
    early = heart.claim(client, most=1).due
    heart.run("select evergrant.request_refresh('wished'), evergrant.request_revocation('ending')")
    heart.run("update evergrant.valves set paused_by_operator = true")
    (held,) = heart.start(early)
    assert held.job.client_paused
    assert client in heart.looks_at()
    claimed = heart.claim(client)
    assert (claimed.due, claimed.wished) == ([], [])
    assert [grant for grant, _ in claimed.revocations] == [ending]
    assert not heart.start(claimed.revocations, status="revoking")[0].job.client_paused


def test_of_four_slots_one_is_for_revocations_one_for_failing_grants_and_wishes_come_first_in_the_others(
    heart: Heart,
) -> None:
    client = heart.client(burst=8)
    failing = heart.grants(client, 8, failures=1)
    heart.run("update evergrant.grants set ref = 'failing-' || ref, due_at = due_at - interval '1 hour'")
    due = [heart.grant(client, f"due-{n}", due_in=timedelta(hours=-2)) for n in range(8)]
    for n in range(8):
        heart.grant(client, f"wished-{n}", due_in=timedelta(hours=1))
        heart.grant(client, f"ending-{n}", due_in=timedelta(hours=1))
        heart.run(f"select evergrant.request_refresh('wished-{n}'), evergrant.request_revocation('ending-{n}')")
    claimed = heart.claim(client)
    assert (len(claimed.revocations), len(claimed.wished), len(claimed.due)) == (2, 4, 2)
    assert {grant for grant, _ in claimed.due} <= set(failing)
    heart.run("update evergrant.grants set claimed_at = null; delete from evergrant.refresh_requests")
    heart.run("delete from evergrant.revocations where status = 'queued'")
    claimed = heart.claim(client)
    assert len(claimed.due) == 8
    assert len({grant for grant, _ in claimed.due} & set(failing)) == 2
    assert len({grant for grant, _ in claimed.due} & set(due)) == 6


def test_what_one_side_cannot_use_the_others_get(heart: Heart) -> None:
    client = heart.client(burst=8)
    for n in range(8):
        heart.grant(client, f"ending-{n}", due_in=timedelta(hours=1))
        heart.run(f"select evergrant.request_revocation('ending-{n}')")
    assert len(heart.claim(client).revocations) == 8


def test_two_beats_at_once_leave_a_client_to_the_first(heart: Heart) -> None:
    client = heart.client()
    heart.grants(client, 3)
    with transaction() as other:
        other.exec_driver_sql("select from evergrant.valves for no key update")
        assert heart.claim(client).count == 0
    assert heart.claim(client).count == 3


def test_one_clients_shut_valve_holds_no_other_client(heart: Heart) -> None:
    shut_client, other = heart.client("shut"), heart.client("other")
    heart.grant(shut_client)
    heart.grant(other, "elsewhere")
    heart.settle((heart.begin(shut_client), TOO_MANY))
    assert heart.looks_at() == [other]
    assert heart.claim(other).count == 1
