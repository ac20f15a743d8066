"""Refusals in words that nobody understands: the living are renewed, the dead are asked ever more seldom."""

from datetime import timedelta
from uuid import UUID

import pytest

from models import operator_actions
from models.database import transaction
from tasks import explain
from tasks.oauth.answer import Answer, Response
from tasks.runtime import clock
from tests.harness import GATEWAY, INVALID_CLIENT, INVALID_GRANT, LOST, Harness, token_set

MINUTE = timedelta(minutes=1)
WITHDRAWN = Response(403, {}, b'{"error": "unauthorized_client", "error_description": "refresh_token is invalid"}')
BAD_TOKEN = Response(200, {}, b'{"error": "bad_refresh_token"}')
WORDS = {"a 403 of the client": WITHDRAWN, "a 200 with an error": BAD_TOKEN, "a page": Response(403, {}, b"<html>no")}


@pytest.fixture
def client(harness: Harness) -> int:
    client = harness.client(rotation="immediate")
    harness.run(
        """update evergrant.valves v set credentials_proven_no = c.credentials_no
        from evergrant.clients c where c.id = v.client_id"""
    )
    return client


def ask_all(
    harness: Harness, client: int, *, dead: set[UUID], answer: Answer = WITHDRAWN, most: int = 500
) -> list[UUID]:
    """One look of beat and what comes of it; returns who was asked."""
    attempts = harness.start(harness.claim(client, most=most).due)
    ids = [attempt.job.grant_id for attempt in attempts]
    harness.settle(*[(a, answer if a.job.grant_id in dead else token_set(f"{a.job.ref}-2")) for a in attempts])
    return ids


def is_shut(harness: Harness, client: int) -> bool:
    return harness.valve(client)["paused_until"] is not None


def wait_of(harness: Harness, grant: UUID) -> timedelta:
    row = harness.row(grant)
    return row["due_at"] - row["asked_at"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("answer", WORDS.values(), ids=WORDS)
def test_a_fifth_that_dies_at_one_instant_in_any_words_delays_nobody_else(
    harness: Harness, client: int, answer: Answer
) -> None:
    grants = harness.grants(client, 50)
    dead = set(grants[::5])
    for _ in range(10):
        ask_all(harness, client, dead=dead, answer=answer, most=5)
        assert not is_shut(harness, client)
    assert {harness.row(grant)["generation"] for grant in grants if grant not in dead} == {2}
    assert {harness.row(grant)["status"] for grant in dead} == {"active"}
    assert all(9 * MINUTE < wait_of(harness, grant) <= 10 * MINUTE for grant in dead)


@pytest.mark.parametrize(
    ("answer", "pause", "says"),
    [
        (
            Response(403, {"retry-after": "60"}, b'{"error": "secondary_limit"}'),
            60,
            ", or is not well (secondary_limit)",
        ),
        (Response(403, {"retry-after": "60"}, b'{"message": "secondary rate limit"}'), 60, " (asked_to_wait)"),
        (
            Response(400, {"retry-after": "60"}, b'{"error": "temporarily_unavailable"}'),
            60,
            " (temporarily_unavailable)",
        ),
        (Response(400, {}, b'{"error": "rate_limit_exceeded"}'), 5, " (rate_limit_exceeded)"),
        (Response(400, {}, b'{"error": "invalid_grant", "error_description": "login rate exceeded"}'), 5, " (asked_to"),
    ],
)
def test_a_refusal_that_asks_to_wait_makes_all_of_the_client_wait_and_refuses_nobody(
    harness: Harness, client: int, answer: Answer, pause: float, says: str
) -> None:
    grant, beside = harness.grants(client, 2)
    harness.set(beside, due_at=clock.wall() + timedelta(hours=1))
    harness.ask(client, answer)
    valve = harness.valve(client)
    assert valve["paused_until"] - valve["changed_at"] == timedelta(seconds=pause)
    row = harness.row(grant)
    assert (row["refusals"], row["failures"], row["doubt_since"], row["suspect_at"]) == (0, 0, None, None)
    for each in (grant, beside):
        with transaction() as connection:
            told = explain.of_grant(connection, each, settings=harness.settings)
        (link,) = [link for link in told.chain if link.cause == "valve_is_shut"]
        assert f"asked demo to wait{says}" in link.told


def test_who_is_told_so_inside_a_success_is_asked_by_the_profile_and_refused_by_nobody(
    harness: Harness, client: int
) -> None:
    grant = harness.grant(client)
    harness.ask(client, Response(200, {"retry-after": "60"}, b'{"ok": false, "error": "ratelimited"}'))
    row, valve = harness.row(grant), harness.valve(client)
    assert (row["refusals"], row["failures"], row["doubt_since"] is not None) == (0, 1, True)
    assert valve["paused_until"] - valve["changed_at"] == MINUTE


def test_a_limit_told_by_a_word_alone_slows_no_pace_and_leaves_nobody_for_an_hour(
    harness: Harness, client: int
) -> None:
    """Ten grants, of whom each third request is told so for half an hour."""
    says = Response(400, {}, b'{"error": "rate_limit_exceeded"}')
    grants, n = harness.grants(client, 10, life=timedelta(minutes=30)), 0
    for _ in range(60):
        attempts = harness.start(harness.claim(client).due)
        for attempt in attempts:
            n += 1
            harness.settle((attempt, says if n % 3 == 0 else token_set(f"{attempt.job.ref}-{n}", expires_in=120)))
        harness.later(seconds=30)
    assert all(harness.row(grant)["refusals"] == 0 for grant in grants)
    assert harness.one("select coalesce(max(slowed_by), 0) as n from evergrant.witnesses")["n"] == 0
    latest = harness.one("select max(due_at) - clock_timestamp() as wait from evergrant.grants")["wait"]
    assert latest < timedelta(minutes=6)


def test_a_valve_that_three_refusals_shut_is_told_so(harness: Harness, client: int) -> None:
    grants = harness.grants(client, 4)
    for _ in range(4):
        ask_all(harness, client, dead=set(grants), answer=Response(403, {}, b"<html>"), most=1)
    assert is_shut(harness, client)
    with transaction() as connection:
        told = explain.of_grant(connection, grants[0], settings=harness.settings)
    assert [link.told for link in told.chain if "Everybody of demo is refused (http_403)" in link.told]


def test_from_the_third_refusal_on_a_grant_is_asked_hourly_while_others_succeed(harness: Harness, client: int) -> None:
    dead = harness.grant(client, "dead")
    waits = []
    for n in range(5):  # each time somebody else is renewed well
        harness.until_due(dead)
        ask_all(harness, client, dead={dead})
        waits.append(round(wait_of(harness, dead) / MINUTE))
        harness.grant(client, f"well-{n}")
        ask_all(harness, client, dead={dead})
    assert waits == [10, 10, 60, 60, 60]
    assert harness.row(dead)["refusals"] == 5
    assert not is_shut(harness, client)
    assert harness.letters(dead) == []


def test_three_refusals_in_different_words_are_not_three_alike(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    for answer in (WITHDRAWN, BAD_TOKEN, WITHDRAWN):
        harness.until_due(grant)
        harness.run("update evergrant.grants set doubt_since = null")
        ask_all(harness, client, dead={grant}, answer=answer)
        harness.grant(client, f"well-{harness.row(grant)['attempts']}")
        ask_all(harness, client, dead={grant})
    assert (harness.row(grant)["refusals"], harness.row(grant)["refused_code"]) == (1, "unauthorized_client")
    assert wait_of(harness, grant) < 11 * MINUTE


def test_a_success_forgets_the_refusals(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    harness.ask(client, WITHDRAWN)
    harness.until_due(grant)
    harness.ask(client, token_set("2"))
    assert (harness.row(grant)["refusals"], harness.row(grant)["refused_since"]) == (0, None)


def test_a_success_that_the_release_before_stored_forgets_them_too(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    harness.ask(client, WITHDRAWN)
    harness.set(grant, refusals=7, refused_code="unauthorized_client")
    harness.run("update evergrant.grants set refreshed_at = clock_timestamp(), due_at = clock_timestamp()")
    harness.ask(client, WITHDRAWN)
    assert harness.row(grant)["refusals"] == 1


def test_a_day_of_being_refused_alone_is_a_letter_with_the_providers_word_and_a_success_closes_it(
    harness: Harness, client: int
) -> None:
    dead = harness.grant(client, "dead")
    for n in range(30):
        harness.until_due(dead)
        harness.run("update evergrant.valves set paused_until = null")
        ask_all(harness, client, dead={dead})
        harness.grant(client, f"well-{n}")
        ask_all(harness, client, dead={dead})
    assert harness.letters(dead) == ["refused"]
    assert harness.one("select detail from evergrant.dead_letters")["detail"] == "unauthorized_client (HTTP 403)"
    assert harness.row(dead)["status"] == "active"
    harness.until_due(dead)
    ask_all(harness, client, dead=set())
    assert harness.letters(dead) == []


def test_a_wrong_secret_shuts_the_valve_and_blames_nobody(harness: Harness, client: int) -> None:
    grants = harness.grants(client, 30)
    everybody = set(grants)
    for _ in range(2):
        ask_all(harness, client, dead=everybody, answer=INVALID_CLIENT, most=10)
    assert is_shut(harness, client)
    assert harness.valve(client)["pause_reason"] == "invalid_client"
    assert harness.claim(client).count == 0
    assert {row["status"] for row in harness.all("select status from evergrant.grants")} == {"active"}
    assert {row["suspect_at"] for row in harness.all("select suspect_at from evergrant.grants")} == {None}


def test_the_canary_after_refusals_is_the_grant_that_succeeded_last_though_it_is_not_due(
    harness: Harness, client: int
) -> None:
    well = harness.grant(client, "well")
    ask_all(harness, client, dead=set())
    harness.later(minutes=5)
    dead = [harness.grant(client, f"dead-{n}") for n in range(5)]
    for _ in dead:
        ask_all(harness, client, dead=set(dead), most=1)
        harness.later(seconds=1)
    assert is_shut(harness, client)
    harness.later(seconds=6)
    assert harness.looks_at() == [client]
    (attempt,) = harness.start(harness.claim(client).due)
    assert attempt.job.grant_id == well
    harness.settle((attempt, token_set("well-3")))
    assert not is_shut(harness, client)


def test_in_another_trouble_no_grant_is_asked_before_it_is_due_though_somebody_was_refused(
    harness: Harness, client: int
) -> None:
    """At `immediate` an answer that is lost costs the grant: a canary must not be one that has time."""
    harness.grant(client, "well")
    ask_all(harness, client, dead=set())
    harness.later(minutes=5)
    dead = harness.grant(client, "dead")
    ask_all(harness, client, dead={dead})
    harness.grants(client, 4)
    attempts = harness.start(harness.claim(client, most=3).due)
    harness.settle(*[(attempt, GATEWAY) for attempt in attempts])
    assert is_shut(harness, client)
    for _ in range(3):
        harness.later(minutes=1)
        (canary,) = harness.start(harness.claim(client).due)
        assert canary.job.ref != "well"
        harness.settle((canary, GATEWAY))


def test_each_canary_after_refusals_is_another_grant(harness: Harness, client: int) -> None:
    for n in range(3):
        harness.grant(client, f"well-{n}")
    ask_all(harness, client, dead=set())
    harness.later(minutes=5)
    harness.grants(client, 4)
    canaries = []
    for _ in range(8):
        attempts = harness.start(harness.claim(client, most=1).due)
        canaries += [a.job.ref for a in attempts if a.job.canary]
        harness.settle(*[(a, INVALID_CLIENT) for a in attempts])
        harness.later(minutes=1)
    assert len(canaries) >= 4
    assert len(set(canaries)) == len(canaries)
    assert set(canaries[:3]) == {"well-0", "well-1", "well-2"}


def test_a_grant_that_is_refused_alone_is_no_canary_while_another_is_due(harness: Harness, client: int) -> None:
    harness.grant(client, "dead", refusals=3, failures=3)
    failing = harness.grant(client, "failing", failures=1)
    harness.run("update evergrant.valves set paused_until = clock_timestamp(), pause_reason = 'http_502'")
    for _ in range(2):
        (attempt,) = harness.start(harness.claim(client).due)
        assert attempt.job.grant_id == failing
        harness.settle((attempt, GATEWAY))
        harness.later(minutes=1)


def test_of_a_grant_whose_end_was_asked_for_only_the_first_refusal_may_be_ours(harness: Harness, client: int) -> None:
    ending = harness.grants(client, 3)
    for n in range(20):
        harness.grant(client, f"well-{n}")
    with transaction() as connection:
        for grant in ending:
            operator_actions.request_revocation(connection, grant, reason=None, who="test")
    for _ in range(3):
        attempts = harness.start(harness.claim(client).revocations, status="revoking")
        for each in attempts:  # one after the other, as revocations are
            harness.settle((each, BAD_TOKEN))
        harness.later(minutes=2)
        ask_all(harness, client, dead=set(), most=1)
        harness.run("update evergrant.revocations set due_at = clock_timestamp()")
    assert {harness.row(grant)["refusals"] for grant in ending} == {3}
    assert not is_shut(harness, client)


def refuse_alone(harness: Harness, client: int, dead: UUID, *, times: int, answer: Answer = WITHDRAWN) -> list[str]:
    """So many refusals of one grant, somebody else being renewed well between them; returns what it presented."""
    sent = []
    for _ in range(times):
        harness.until_due(dead)
        attempts = harness.start(harness.claim(client).due)
        sent += [harness.sent(a) for a in attempts if a.job.grant_id == dead]
        harness.settle(*[(a, answer if a.job.grant_id == dead else token_set(f"{a.job.ref}-2")) for a in attempts])
        harness.grant(client, f"well-{harness.row(dead)['claim_no']}")
        ask_all(harness, client, dead={dead})
    return sent


@pytest.mark.parametrize("rotation", ["none", "on_use", "immediate", "family"])
def test_one_that_is_refused_alone_three_times_over_ten_minutes_tries_its_former_tokens_newest_first_once_each(
    harness: Harness, rotation: str
) -> None:
    client = harness.client(rotation=rotation)
    dead = harness.grant(client, "dead")
    for name in ("older", "newer"):
        harness.former(dead, name, kind="surplus")
    sent = refuse_alone(harness, client, dead, times=7)
    assert sent == ["rt-dead-1"] * 3 + ["rt-newer", "rt-older"] + ["rt-dead-1"] * 2
    assert harness.row(dead)["refusals"] == 5
    assert 59 * MINUTE < wait_of(harness, dead) <= 60 * MINUTE


def test_a_surplus_pair_that_lives_brings_it_back_within_seconds_of_its_third_refusal(
    harness: Harness, client: int
) -> None:
    dead = harness.grant(client, "dead")
    harness.former(dead, "alive", kind="surplus")
    refuse_alone(harness, client, dead, times=3)
    assert wait_of(harness, dead) <= timedelta(seconds=15)
    harness.until_due(dead)
    attempt = harness.ask(client, token_set("alive-2"))
    assert harness.sent(attempt) == "rt-alive"
    assert (harness.token(dead), harness.row(dead)["refusals"]) == ("rt-alive-2", 0)


def test_a_former_token_that_is_refused_in_the_words_of_rfc_6749_makes_no_suspect_of_it(
    harness: Harness, client: int
) -> None:
    dead = harness.grant(client, "dead")
    harness.former(dead, "spent", kind="surplus")
    refuse_alone(harness, client, dead, times=3)
    assert refuse_alone(harness, client, dead, times=1, answer=INVALID_GRANT) == ["rt-spent"]
    assert harness.row(dead)["suspect_at"] is None
    assert 59 * MINUTE < wait_of(harness, dead) <= 60 * MINUTE


def test_an_attempt_with_a_former_token_whose_outcome_is_unknown_was_none(harness: Harness, client: int) -> None:
    dead = harness.grant(client, "dead")
    harness.former(dead, "spent", kind="surplus")
    refuse_alone(harness, client, dead, times=3)
    assert refuse_alone(harness, client, dead, times=1, answer=LOST) == ["rt-spent"]
    assert harness.one("select tried_at from evergrant.former_tokens")["tried_at"] is None


def test_a_former_token_that_is_refused_in_another_word_was_not_tried_and_takes_turns_with_the_grants_own(
    harness: Harness, client: int
) -> None:
    dead = harness.grant(client, "dead")
    harness.former(dead, "alive", kind="surplus")
    refuse_alone(harness, client, dead, times=3)
    for _ in range(2):
        assert refuse_alone(harness, client, dead, times=1, answer=INVALID_CLIENT) == ["rt-alive"]
        assert 59 * MINUTE < wait_of(harness, dead) <= 60 * MINUTE
        assert refuse_alone(harness, client, dead, times=1) == ["rt-dead-1"]


def test_where_everybody_is_refused_no_former_token_is_presented(harness: Harness, client: int) -> None:
    dead = harness.grant(client, "dead")
    harness.former(dead, "spent", kind="surplus")
    for _ in range(6):
        harness.until_due(dead)
        assert harness.sent(harness.ask(client, INVALID_CLIENT)) == "rt-dead-1"
        harness.later(minutes=11)


def test_a_wrong_secret_behind_nodes_with_words_of_their_own_shuts_the_valve(harness: Harness, client: int) -> None:
    words = [INVALID_CLIENT, WITHDRAWN]
    for n in range(8):
        harness.grant(client, f"customer-{n}", due_in=timedelta(minutes=-1))
        attempts = harness.start(harness.claim(client, most=1).due)
        harness.settle(*[(a, words[n % 2]) for a in attempts])
    assert is_shut(harness, client)
    assert {row["status"] for row in harness.all("select status from evergrant.grants")} == {"active"}


def test_what_the_release_before_left_standing_when_it_opened_a_valve_blames_nobody(
    harness: Harness, client: int
) -> None:
    """0.1.0 knows nothing of witnesses: a first refusal would be taken for everybody's for ever."""
    harness.grants(client, 20)
    for _ in range(2):
        ask_all(harness, client, dead={row["id"] for row in harness.all("select id from evergrant.grants")}, most=5)
    assert is_shut(harness, client)
    harness.later(minutes=3)
    harness.run("update evergrant.valves set paused_until = null, pause_reason = null, changed_at = clock_timestamp()")
    harness.later(minutes=3)
    dead = harness.grant(client, "first", due_in=timedelta(hours=-1))
    ask_all(harness, client, dead={dead}, most=1)
    assert wait_of(harness, dead) > 9 * MINUTE
    assert not is_shut(harness, client)
