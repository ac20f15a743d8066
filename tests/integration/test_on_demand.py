"""Kept on demand: a grant that nobody reads sleeps, whoever reads it wakes it, and it does not die meanwhile."""

from datetime import timedelta

import pytest

from models.database import transaction
from tasks import clock, upkeep
from tests.harness import Heart, token_set

HOUR = timedelta(hours=1)
WEEK = timedelta(days=7)


@pytest.fixture
def client(heart: Heart) -> int:
    made = heart.client()
    heart.run("update evergrant.valves set credentials_proven_no = 1")
    heart.run("update evergrant.clients set keep = 'on-demand'")
    return made


def asleep(heart: Heart, client: int, *, left: timedelta = -HOUR) -> object:
    """A grant that is due in days, `left` of its access token."""
    return heart.grant(client, due_in=WEEK, access_left=left)


def awake(heart: Heart, client: int) -> bool:
    """Whether beat would refresh it now."""
    return client in heart.looks_at() and len(heart.claim(client).wished) == 1


def test_a_grant_that_nobody_reads_sleeps_until_half_of_its_refresh_tokens_life_is_over(
    heart: Heart, client: int
) -> None:
    grant = heart.grant(client)
    heart.ask(client, token_set("2"))
    heart.later(days=6)
    assert heart.row(grant)["access_expires_at"] < clock.wall()
    assert not awake(heart, client)
    heart.later(days=1.8)
    assert len(heart.claim(client).due) == 1


READS: dict[str, str] = {
    "by ref": "select sealed_access_token from evergrant.access_tokens where ref = 'customer'",
    "whole": "select * from evergrant.access_tokens where ref = 'customer'",
    "by a wish": "select evergrant.request_refresh('customer')",
}


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
@pytest.mark.parametrize("left", [-HOUR, timedelta(minutes=30)], ids=["stale", "nearly stale"])
def test_reading_it_in_sql_wakes_it(heart: Heart, client: int, read: str, left: timedelta) -> None:
    asleep(heart, client, left=left)
    for _ in range(3):
        heart.run(read)
    assert awake(heart, client)


def test_while_much_is_left_of_its_token_reading_it_wakes_nobody(heart: Heart, client: int) -> None:
    asleep(heart, client, left=HOUR)
    heart.run(READS["whole"])
    assert not heart.all("select id from evergrant.refresh_requests")


def test_to_look_at_a_grant_without_its_token_is_no_reading(heart: Heart, client: int) -> None:
    asleep(heart, client)
    heart.run("select ref, status, generation, access_expires_at from evergrant.access_tokens")
    heart.run("select count(*) from evergrant.access_tokens")
    assert not heart.all("select id from evergrant.refresh_requests")


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
    heart: Heart, client: int, not_it: str
) -> None:
    asleep(heart, client)
    heart.run(not_it)
    heart.run(READS["whole"])
    assert not heart.all("select id from evergrant.refresh_requests")


def test_a_transaction_that_cannot_write_reads_all_the_same(heart: Heart, client: int) -> None:
    asleep(heart, client, left=timedelta(minutes=30))
    with transaction() as connection:
        connection.exec_driver_sql("set transaction read only")
        row = connection.exec_driver_sql("select * from evergrant.access_tokens").mappings().one()
    assert row["sealed_access_token"] is not None
    assert not heart.all("select id from evergrant.refresh_requests")


def test_a_reader_needs_no_right_but_to_the_view(heart: Heart, client: int) -> None:
    asleep(heart, client)
    heart.run(
        """drop role if exists only_reads; create role only_reads; grant usage on schema evergrant to only_reads;
        grant select on evergrant.access_tokens to only_reads"""
    )
    try:
        heart.run(f"set local role only_reads; {READS['whole']}")
    finally:
        heart.run("drop owned by only_reads; drop role only_reads")
    assert awake(heart, client)


def test_a_message_wakes_it(heart: Heart, client: int) -> None:
    asleep(heart, client)
    upkeep.request_refresh("customer")
    assert awake(heart, client)


def test_what_wakes_it_once_is_used_up_and_it_sleeps_again(heart: Heart, client: int) -> None:
    grant = heart.grant(client, due_in=WEEK, access_left=-HOUR)
    heart.run(READS["whole"])
    heart.ask(client, token_set("2"))
    row = heart.row(grant)
    assert row["generation"] == 2
    assert row["due_at"] - row["refreshed_at"] > timedelta(days=6)
    assert not heart.all("select id from evergrant.refresh_requests")
