"""Kept on demand: a grant that nobody reads sleeps, whoever reads it wakes it, and it does not die meanwhile."""

from datetime import timedelta

import pytest

from models.database import transaction
from tasks import upkeep
from tasks.runtime import clock
from tests.harness import Harness, token_set

HOUR = timedelta(hours=1)
WEEK = timedelta(days=7)


@pytest.fixture
def client(harness: Harness) -> int:
    made = harness.client()
    harness.run("update evergrant.valves set credentials_proven_no = 1")
    harness.run("update evergrant.clients set keep = 'on-demand'")
    return made


def asleep(harness: Harness, client: int, *, left: timedelta = -HOUR) -> object:
    """A grant that is due in days, `left` of its access token."""
    return harness.grant(client, due_in=WEEK, access_left=left)


def awake(harness: Harness, client: int) -> bool:
    """Whether beat would refresh it now."""
    return client in harness.looks_at() and len(harness.claim(client).requested) == 1


def test_a_grant_that_nobody_reads_sleeps_until_half_of_its_refresh_tokens_life_is_over(
    harness: Harness, client: int
) -> None:
    grant = harness.grant(client)
    harness.ask(client, token_set("2"))
    harness.later(days=6)
    assert harness.row(grant)["access_expires_at"] < clock.wall()
    assert not awake(harness, client)
    harness.later(days=1.8)
    assert len(harness.claim(client).due) == 1


READS: dict[str, str] = {
    "by ref": "select sealed_access_token from evergrant.access_tokens where ref = 'customer'",
    "whole": "select * from evergrant.access_tokens where ref = 'customer'",
    "by a refresh request": "select evergrant.request_refresh('customer')",
}


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
@pytest.mark.parametrize("left", [-HOUR, timedelta(minutes=30)], ids=["stale", "nearly stale"])
def test_reading_it_in_sql_wakes_it(harness: Harness, client: int, read: str, left: timedelta) -> None:
    asleep(harness, client, left=left)
    for _ in range(3):
        harness.run(read)
    assert awake(harness, client)


def test_while_much_is_left_of_its_token_reading_it_wakes_nobody(harness: Harness, client: int) -> None:
    asleep(harness, client, left=HOUR)
    harness.run(READS["whole"])
    assert not harness.all("select id from evergrant.refresh_requests")


def test_to_look_at_a_grant_without_its_token_is_no_reading(harness: Harness, client: int) -> None:
    asleep(harness, client)
    harness.run("select ref, status, generation, access_expires_at from evergrant.access_tokens")
    harness.run("select count(*) from evergrant.access_tokens")
    assert not harness.all("select id from evergrant.refresh_requests")


@pytest.mark.parametrize(
    "not_it",
    [
        "update evergrant.grants set keep = 'warm'",
        "update evergrant.grants set status = 'paused'",
        "update evergrant.grants set status = 'needs_consent', reason = 'response_lost'",
        "select evergrant.request_revocation('customer')",
        "update evergrant.grants set refreshed_at = clock_timestamp()",
    ],
)
def test_reading_wakes_nobody_who_is_kept_otherwise_or_could_not_be_refreshed(
    harness: Harness, client: int, not_it: str
) -> None:
    asleep(harness, client)
    harness.run(not_it)
    harness.run(READS["whole"])
    assert not harness.all("select id from evergrant.refresh_requests")


def test_a_transaction_that_cannot_write_reads_all_the_same(harness: Harness, client: int) -> None:
    asleep(harness, client, left=timedelta(minutes=30))
    with transaction() as connection:
        connection.exec_driver_sql("set transaction read only")
        row = connection.exec_driver_sql("select * from evergrant.access_tokens").mappings().one()
    assert row["sealed_access_token"] is not None
    assert not harness.all("select id from evergrant.refresh_requests")


def test_a_reader_needs_no_right_but_to_the_view(harness: Harness, client: int) -> None:
    asleep(harness, client)
    harness.run(
        """drop role if exists only_reads; create role only_reads; grant usage on schema evergrant to only_reads;
        grant select on evergrant.access_tokens to only_reads"""
    )
    try:
        harness.run(f"set local role only_reads; {READS['whole']}")
    finally:
        harness.run("drop owned by only_reads; drop role only_reads")
    assert awake(harness, client)


def test_a_message_wakes_it(harness: Harness, client: int) -> None:
    asleep(harness, client)
    upkeep.request_refresh("customer")
    assert awake(harness, client)


def test_what_wakes_it_once_is_used_up_and_it_sleeps_again(harness: Harness, client: int) -> None:
    grant = harness.grant(client, due_in=WEEK, access_left=-HOUR)
    harness.run(READS["whole"])
    harness.ask(client, token_set("2"))
    row = harness.row(grant)
    assert row["generation"] == 2
    assert row["due_at"] - row["refreshed_at"] > timedelta(days=6)
    assert not harness.all("select id from evergrant.refresh_requests")
