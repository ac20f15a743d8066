"""A client that is throttled in words of the provider's own goes slower: claimed, written, told."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from models import claim as claims
from models.database import transaction
from models.views import fleet, listing
from tasks.oauth.answer import Response
from tests.harness import BUSY, Harness, token_set

TOO_FAST = Response(403, {}, b'{"error": "too_fast"}')
SETTLED = "update evergrant.grants set due_at = clock_timestamp() + interval '2 h', claimed_at = null"


@pytest.fixture
def client(harness: Harness) -> int:
    client = harness.client(rate=6000)
    harness.run("update evergrant.valves set credentials_proven_no = 2")
    return client


def a_minute(harness: Harness, client: int, n: int, *, throttled: int, well: int) -> None:
    """So many of the grants that are asked are throttled, and a minute goes by."""
    ids = [harness.grant(client, f"minute-{n}-{m}") for m in range(throttled + well)]
    slow = set(ids[:throttled])
    attempts = harness.start(take(harness, client, ids))
    ended = [(a, TOO_FAST if a.job.grant_id in slow else token_set(f"{a.job.ref}-2")) for a in attempts]
    assert len(ended) == throttled + well
    harness.settle(*ended)
    harness.later(seconds=61)


def take(harness: Harness, client: int, ids: list[UUID]) -> list[tuple[UUID, int]]:
    """Claim these whatever the pace: the answers matter."""
    harness.run("update evergrant.grants set due_at = clock_timestamp() + interval '1 h' where claimed_at is null")
    harness.run("update evergrant.grants set due_at = clock_timestamp() where id = any(:ids)", ids=ids)
    harness.run("update evergrant.valves set next_slot_at = clock_timestamp() - interval '1 h'")
    with transaction() as connection:
        row = claims.lock_valve(connection, client)
        assert row is not None
        return claims.due(connection, claims.Scope(client, row["at"], timedelta(seconds=30)), 500)


def witness(harness: Harness, client: int) -> dict[str, object]:
    return dict(harness.one("select * from evergrant.witnesses where client_id = :id", id=client))


def allowed(harness: Harness, client: int) -> int:
    """How many of a hundred that are due beat claims at once and in the minute after."""
    harness.run(SETTLED)
    ids = [harness.grant(client, f"due-{n}-{harness.valve(client)['slot_no']}") for n in range(100)]
    harness.run("update evergrant.valves set next_slot_at = clock_timestamp()")
    claimed = 0
    for _ in range(60):
        claimed += harness.claim(client).count
        harness.later(seconds=1)
    harness.run("delete from evergrant.grants where id = any(:ids)", ids=ids)
    return claimed


def test_a_client_of_whom_a_third_is_refused_alike_goes_at_half_its_rate_and_beat_claims_no_more(
    harness: Harness, client: int
) -> None:
    harness.run("update evergrant.clients set rate_per_minute = 60")
    for n in range(2):
        a_minute(harness, client, n, throttled=5, well=10)
    assert (witness(harness, client)["slowed_by"], witness(harness, client)["slowed_from"]) == (1, 60)
    assert 29 <= allowed(harness, client) <= 32


def test_a_client_without_a_rate_goes_at_half_of_what_it_did_in_that_minute(harness: Harness, client: int) -> None:
    harness.run("update evergrant.clients set rate_per_minute = null")
    for n in range(2):
        a_minute(harness, client, n, throttled=10, well=30)
    assert witness(harness, client)["slowed_from"] == 40
    assert 19 <= allowed(harness, client) <= 22


def test_once_one_who_was_refused_is_refreshed_each_minute_halves_it_again_and_each_without_doubles_it(
    harness: Harness, client: int
) -> None:
    throttled = harness.grant(client, "throttled")
    (attempt,) = harness.start(take(harness, client, [throttled]))
    harness.settle((attempt, TOO_FAST))
    (attempt,) = harness.start(take(harness, client, [throttled]))
    harness.settle((attempt, token_set("throttled-2")))
    assert witness(harness, client)["passing_code"] == "too_fast"
    seen = []
    for n in range(8):
        a_minute(harness, client, n, throttled=5 if n < 4 else 0, well=10)
        seen.append(witness(harness, client)["slowed_by"])
    assert seen == [0, 1, 2, 3, 4, 3, 2, 1]
    assert harness.events(client_id=client).count("client.slowed") == 1
    a_minute(harness, client, 9, throttled=0, well=3)
    assert harness.events(client_id=client)[-1] == "client.at_full_pace"


def test_who_died_all_at_once_costs_the_others_one_minute_at_half_the_pace(harness: Harness, client: int) -> None:
    seen = []
    for n in range(5):
        a_minute(harness, client, n, throttled=10, well=15)
        seen.append(witness(harness, client)["slowed_by"])
    assert seen == [0, 1, 0, 0, 0]


def test_a_pause_of_the_valve_leaves_the_pace_as_it_is(harness: Harness, client: int) -> None:
    for n in range(2):
        a_minute(harness, client, n, throttled=5, well=10)
        harness.run("update evergrant.witnesses set passing_code = 'too_fast', passing_at = clock_timestamp()")
    grant = harness.grant(client, "busy")
    (attempt,) = harness.start(take(harness, client, [grant]))
    harness.settle((attempt, BUSY))
    assert witness(harness, client)["slowed_by"] == 2
    assert harness.valve(client)["paused_until"] is not None
    harness.later(seconds=30)
    (canary,) = harness.start(take(harness, client, [grant]))
    harness.settle((canary, token_set("busy-2")))
    assert harness.valve(client)["paused_until"] is None
    assert witness(harness, client)["slowed_by"] == 2


def test_it_is_told_where_clients_are_shown(harness: Harness, client: int) -> None:
    for n in range(2):
        a_minute(harness, client, n, throttled=5, well=10)
    with transaction() as connection:
        (glance,), listed = fleet.by_client(connection), listing.client_by_name(connection, "demo")
    for row in (glance, listed):
        assert (row["slowed_by"], row["slowed_from"], row["slowed_code"]) == (1, 6000, "too_fast")


def test_where_nobody_was_ever_slowed_a_claim_reads_one_row_more_at_most(harness: Harness, client: int) -> None:
    with transaction() as connection:
        connection.execute(text("set local enable_seqscan = off"))
        plan = connection.execute(
            text(f"explain {claims.LOCK_VALVE.text}"), {"client_id": client, "now": None, "environment": "test"}
        )
        assert "using pk_witnesses" in "\n".join(plan.scalars())
