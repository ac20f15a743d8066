"""Refresh requests: an early refresh that somebody asked for; nobody outside can shorten a lease or a back-off."""

from datetime import timedelta
from typing import Any

import pytest

from models.database import transaction
from tests.harness import GATEWAY, HELD_BACK, INVALID_GRANT, LOST, TOO_MANY, UNREACHABLE, Harness, token_set

LATER = timedelta(hours=1)


@pytest.fixture
def client(harness: Harness) -> int:
    made = harness.client()
    harness.run("update evergrant.valves set credentials_proven_no = 1")
    return made


def request(harness: Harness, **arguments: Any) -> int:
    named = ", ".join(f"{name} => :{name}" for name in arguments)
    query = f"select evergrant.request_refresh(ref => 'customer'{', ' if named else ''}{named}) as wanted"
    return int(harness.one(query, **arguments)["wanted"])


def requests(harness: Harness) -> int:
    return len(harness.all("select id from evergrant.refresh_requests"))


def test_a_requested_grant_is_claimed_before_it_is_due_and_travels_on_its_own_queue(
    harness: Harness, client: int
) -> None:
    grant = harness.grant(client, due_in=LATER)
    assert request(harness) == 2
    assert client in harness.looks_at()
    claimed = harness.claim(client)
    assert (claimed.requested, claimed.due) == ([(grant, 1)], [])


def test_a_hundred_reports_of_one_generation_make_one_refresh(harness: Harness, client: int) -> None:
    grant = harness.grant(client, due_in=LATER)
    for _ in range(100):
        request(harness, if_generation=1)
    assert requests(harness) == 1
    harness.ask(client, token_set("2"))
    for _ in range(3):
        assert request(harness, if_generation=1) == 2
    assert harness.claim(client).count == 0
    assert harness.row(grant)["generation"] == 2
    assert requests(harness) == 0


def test_reports_that_arrive_while_the_refresh_is_under_way_are_void_when_it_has_succeeded(
    harness: Harness, client: int
) -> None:
    harness.grant(client, due_in=LATER)
    request(harness)
    attempt = harness.begin(client)
    request(harness)
    harness.settle((attempt, token_set("2")))
    harness.later(minutes=2)
    assert harness.claim(client).count == 0
    assert requests(harness) == 0


def test_no_refresh_request_shortens_a_lease(harness: Harness, client: int) -> None:
    harness.grant(client)
    harness.claim(client)
    request(harness)
    assert harness.claim(client).count == 0
    harness.later(seconds=31)
    harness.begin(client)
    request(harness)
    assert harness.claim(client).count == 0


@pytest.mark.parametrize("answer", [GATEWAY, LOST, UNREACHABLE, INVALID_GRANT])
def test_no_refresh_request_overrides_a_back_off(harness: Harness, client: int, answer: Any) -> None:
    harness.grant(client)
    harness.ask(client, answer)
    request(harness)
    assert harness.claim(client).count == 0


@pytest.mark.parametrize("answer", [HELD_BACK, TOO_MANY])
def test_a_refresh_request_that_was_used_does_not_cut_short_the_wait_after_a_release(
    harness: Harness, client: int, answer: Any
) -> None:
    harness.grant(client, due_in=LATER)
    request(harness)
    harness.ask(client, answer)
    harness.run("update evergrant.valves set paused_until = null")
    assert harness.claim(client).count == 0
    harness.later(seconds=16)
    assert harness.claim(client).count == 1


def test_a_refresh_request_whose_message_was_lost_is_carried_out_when_the_lease_lapses(
    harness: Harness, client: int
) -> None:
    harness.grant(client, due_in=LATER)
    request(harness)
    harness.claim(client)
    harness.later(seconds=31)
    assert harness.claim(client).count == 1


@pytest.mark.parametrize(("life", "age", "taken"), [(7200, 59, False), (7200, 61, True), (20, 4, False), (20, 6, True)])
def test_a_young_token_set_is_not_refreshed_by_a_refresh_request(
    harness: Harness, client: int, life: int, age: int, *, taken: bool
) -> None:
    grant = harness.grant(client, due_in=LATER)
    harness.set(grant, life=timedelta(seconds=life))
    harness.run("update evergrant.grants set refreshed_at = clock_timestamp() - make_interval(secs => :age)", age=age)
    assert request(harness) == (2 if taken else 1)
    harness.run(
        "insert into evergrant.refresh_requests (client_id, grant_id, generation) values (:c, :g, 1) "
        "on conflict do nothing",
        c=client,
        g=grant,
    )
    assert harness.claim(client).count == taken


@pytest.mark.parametrize("change", [{"generation": 2}, {"status": "needs_consent"}, {"status": "revoked"}])
def test_a_void_refresh_request_is_deleted(harness: Harness, client: int, change: dict[str, Any]) -> None:
    grant = harness.grant(client, due_in=LATER)
    request(harness)
    harness.set(grant, **change)
    assert harness.claim(client).count == 0
    assert requests(harness) == 0


def test_a_refresh_request_for_a_paused_grant_waits_until_it_is_resumed(harness: Harness, client: int) -> None:
    grant = harness.grant(client, due_in=LATER, status="paused")
    request(harness)
    assert harness.claim(client).count == 0
    harness.set(grant, status="active")
    assert len(harness.claim(client).requested) == 1


def test_a_refresh_request_for_another_generation_is_not_even_written(harness: Harness, client: int) -> None:
    harness.grant(client, due_in=LATER)
    assert request(harness, if_generation=7) == 1
    assert requests(harness) == 0


def test_a_refresh_request_for_a_grant_whose_revocation_was_asked_for_claims_no_refresh(
    harness: Harness, client: int
) -> None:
    harness.grant(client, due_in=LATER)
    request(harness)
    harness.run("select evergrant.request_revocation('customer')")
    claimed = harness.claim(client)
    assert (len(claimed.requested), len(claimed.revocations)) == (0, 1)


def test_a_refresh_request_that_is_still_uncommitted_blocks_neither_claim_nor_settle(
    harness: Harness, client: int
) -> None:
    grant = harness.grant(client)
    with transaction() as application:
        application.exec_driver_sql("select evergrant.request_refresh('customer')")
        harness.ask(client, token_set("2"))
    assert harness.row(grant)["generation"] == 2
