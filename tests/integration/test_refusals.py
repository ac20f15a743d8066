"""Refusals in words that nobody understands: the living are renewed, the dead are asked ever more seldom."""

from datetime import timedelta
from uuid import UUID

import pytest

from models import operating
from models.database import transaction
from tasks.oauth.transport import Answer, Response
from tests.heart import GATEWAY, INVALID_CLIENT, Heart, token_set

MINUTE = timedelta(minutes=1)
WITHDRAWN = Response(403, {}, b'{"error": "unauthorized_client", "error_description": "refresh_token is invalid"}')
BAD_TOKEN = Response(200, {}, b'{"error": "bad_refresh_token"}')
WORDS = {"a 403 of the client": WITHDRAWN, "a 200 with an error": BAD_TOKEN, "a page": Response(403, {}, b"<html>no")}


@pytest.fixture
def client(heart: Heart) -> int:
    client = heart.client(rotation="immediate")
    heart.run(
        """update evergrant.valves v set credentials_proven_no = c.credentials_no
        from evergrant.clients c where c.id = v.client_id"""
    )
    return client


def ask_all(heart: Heart, client: int, *, dead: set[UUID], answer: Answer = WITHDRAWN, most: int = 500) -> list[UUID]:
    """One look of beat and what comes of it; returns who was asked."""
    attempts = heart.start(heart.claim(client, most=most).due)
    ids = [attempt.job.grant_id for attempt in attempts]
    heart.settle(*[(a, answer if a.job.grant_id in dead else token_set(f"{a.job.ref}-2")) for a in attempts])
    return ids


def is_shut(heart: Heart, client: int) -> bool:
    return heart.valve(client)["paused_until"] is not None


def wait_of(heart: Heart, grant: UUID) -> timedelta:
    row = heart.row(grant)
    return row["due_at"] - row["asked_at"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("answer", WORDS.values(), ids=WORDS)
def test_a_fifth_that_dies_at_one_instant_in_any_words_delays_nobody_else(
    heart: Heart, client: int, answer: Answer
) -> None:
    grants = heart.grants(client, 50)
    dead = set(grants[::5])
    for _ in range(10):
        ask_all(heart, client, dead=dead, answer=answer, most=5)
        assert not is_shut(heart, client)
    assert {heart.row(grant)["generation"] for grant in grants if grant not in dead} == {2}
    assert {heart.row(grant)["status"] for grant in dead} == {"active"}
    assert all(9 * MINUTE < wait_of(heart, grant) <= 10 * MINUTE for grant in dead)


def test_from_the_third_refusal_on_a_grant_is_asked_hourly_while_others_succeed(heart: Heart, client: int) -> None:
    dead = heart.grant(client, "dead")
    waits = []
    for n in range(5):  # each time somebody else is renewed well
        heart.until_due(dead)
        ask_all(heart, client, dead={dead})
        waits.append(round(wait_of(heart, dead) / MINUTE))
        heart.grant(client, f"well-{n}")
        ask_all(heart, client, dead={dead})
    assert waits == [10, 10, 60, 60, 60]
    assert heart.row(dead)["refusals"] == 5
    assert not is_shut(heart, client)
    assert heart.letters(dead) == []


def test_a_success_forgets_the_refusals(heart: Heart, client: int) -> None:
    grant = heart.grant(client)
    heart.ask(client, WITHDRAWN)
    heart.until_due(grant)
    heart.ask(client, token_set("2"))
    assert (heart.row(grant)["refusals"], heart.row(grant)["refused_since"]) == (0, None)


def test_a_success_that_the_release_before_stored_forgets_them_too(heart: Heart, client: int) -> None:
    grant = heart.grant(client)
    heart.ask(client, WITHDRAWN)
    heart.set(grant, refusals=7)
    heart.run("update evergrant.grants set refreshed_at = clock_timestamp(), due_at = clock_timestamp()")
    heart.ask(client, WITHDRAWN)
    assert heart.row(grant)["refusals"] == 1


def test_a_day_of_being_refused_alone_is_a_letter_with_the_providers_word_and_a_success_closes_it(
    heart: Heart, client: int
) -> None:
    dead = heart.grant(client, "dead")
    for n in range(30):
        heart.until_due(dead)
        heart.run("update evergrant.valves set paused_until = null")
        ask_all(heart, client, dead={dead})
        heart.grant(client, f"well-{n}")
        ask_all(heart, client, dead={dead})
    assert heart.letters(dead) == ["refused"]
    assert heart.one("select detail from evergrant.dead_letters")["detail"] == "unauthorized_client (HTTP 403)"
    assert heart.row(dead)["status"] == "active"
    heart.until_due(dead)
    ask_all(heart, client, dead=set())
    assert heart.letters(dead) == []


def test_a_wrong_secret_shuts_the_valve_and_blames_nobody(heart: Heart, client: int) -> None:
    grants = heart.grants(client, 30)
    everybody = set(grants)
    for _ in range(2):
        ask_all(heart, client, dead=everybody, answer=INVALID_CLIENT, most=10)
    assert is_shut(heart, client)
    assert heart.valve(client)["pause_reason"] == "invalid_client"
    assert heart.claim(client).count == 0
    assert {row["status"] for row in heart.all("select status from evergrant.grants")} == {"active"}
    assert {row["suspect_at"] for row in heart.all("select suspect_at from evergrant.grants")} == {None}


def test_the_canary_after_refusals_is_the_grant_that_succeeded_last_though_it_is_not_due(
    heart: Heart, client: int
) -> None:
    well = heart.grant(client, "well")
    ask_all(heart, client, dead=set())
    heart.later(minutes=5)
    dead = [heart.grant(client, f"dead-{n}") for n in range(5)]
    for _ in dead:
        ask_all(heart, client, dead=set(dead), most=1)
        heart.later(seconds=1)
    assert is_shut(heart, client)
    heart.later(seconds=6)
    assert heart.looks_at() == [client]
    (attempt,) = heart.start(heart.claim(client).due)
    assert attempt.job.grant_id == well
    heart.settle((attempt, token_set("well-3")))
    assert not is_shut(heart, client)


def test_each_canary_after_refusals_is_another_grant(heart: Heart, client: int) -> None:
    for n in range(3):
        heart.grant(client, f"well-{n}")
    ask_all(heart, client, dead=set())
    heart.later(minutes=5)
    heart.grants(client, 4)
    canaries = []
    for _ in range(8):
        attempts = heart.start(heart.claim(client, most=1).due)
        canaries += [a.job.ref for a in attempts if a.job.canary]
        heart.settle(*[(a, INVALID_CLIENT) for a in attempts])
        heart.later(minutes=1)
    assert len(canaries) >= 4
    assert len(set(canaries)) == len(canaries)
    assert set(canaries[:3]) == {"well-0", "well-1", "well-2"}


def test_a_grant_that_is_refused_alone_is_no_canary_while_another_is_due(heart: Heart, client: int) -> None:
    heart.grant(client, "dead", refusals=3, failures=3)
    failing = heart.grant(client, "failing", failures=1)
    heart.run("update evergrant.valves set paused_until = clock_timestamp(), pause_reason = 'http_502'")
    for _ in range(2):
        (attempt,) = heart.start(heart.claim(client).due)
        assert attempt.job.grant_id == failing
        heart.settle((attempt, GATEWAY))
        heart.later(minutes=1)


def test_of_a_grant_whose_end_was_asked_for_only_the_first_refusal_may_be_ours(heart: Heart, client: int) -> None:
    ending = heart.grants(client, 3)
    for n in range(20):
        heart.grant(client, f"well-{n}")
    with transaction() as connection:
        for grant in ending:
            operating.request_revocation(connection, grant, reason=None, who="test")
    for _ in range(3):
        attempts = heart.start(heart.claim(client).revocations, status="revoking")
        for each in attempts:  # one after the other, as revocations are
            heart.settle((each, BAD_TOKEN))
        heart.later(minutes=2)
        ask_all(heart, client, dead=set(), most=1)
        heart.run("update evergrant.revocations set due_at = clock_timestamp()")
    assert {heart.row(grant)["refusals"] for grant in ending} == {3}
    assert not is_shut(heart, client)
