"""Rules of a provider's file, through real settling: verdicts with reasons, races, throttled grants, what is ours."""

import json
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from tasks.oauth.answer import Answer, Response
from tests.harness import INVALID_GRANT, LOST, Harness, token_set

MINUTE = timedelta(minutes=1)


def says(status: int, word: str, sentence: str = "", **headers: str) -> Response:
    return Response(status, headers, json.dumps({"error": word, "error_description": sentence}).encode())


WITHDRAWN = says(403, "unauthorized_client", "The refresh_token is invalid")
GONE = says(200, "bad_refresh_token", "The refresh token passed is incorrect or expired.")
BUSY = says(400, "invalid_grant", "token request is already being processed")
TOO_OFTEN = says(200, "Access_Denied", "You have made too many requests continuously")
FOREIGN = says(400, "invalid_grant", "Incorrect Token type or clientID")
OTHER_SCOPE = says(403, "scope_refused")
ILL = says(400, "invalid_request", "internal trouble")
ANSWERS: list[dict[str, Any]] = [
    {"where": {"error_description": "*refresh_token is invalid*"}, "means": "dead", "reason": "revoked"},
    {"status": 200, "where": {"error": "bad_refresh_token"}, "means": "dead", "reason": "expired"},
    {"where": {"error_description": "*already being processed*"}, "means": "race"},
    {"status": 200, "where": {"error": "Access_Denied"}, "means": "throttled", "scope_of_limit": "grant"},
    {"where": {"error_description": "Incorrect Token type*"}, "means": "ours"},
    {"where": {"error": "scope_refused"}, "means": "scope"},
    {"where": {"error_description": "internal*"}, "means": "ill"},
    {"status": 200, "where": {"error": "ratelimited"}, "means": "throttled"},
]


@pytest.fixture
def client(harness: Harness) -> int:
    return proven(harness, harness.client(rotation="immediate", answers=ANSWERS))


def proven(harness: Harness, client: int) -> int:
    harness.run(
        """update evergrant.valves v set credentials_proven_no = c.credentials_no
        from evergrant.clients c where c.id = v.client_id"""
    )
    return client


def ask(harness: Harness, client: int, grant: UUID, answer: Answer) -> None:
    """One request of this grant, and none of another."""
    harness.until_due(grant)
    harness.run("update evergrant.valves set paused_until = null")
    attempts = harness.start(harness.claim(client).due)
    harness.settle(*[(a, answer if a.job.grant_id == grant else token_set(f"{a.job.ref}-2")) for a in attempts])


def witness(harness: Harness, client: int, ref: str = "witness") -> None:
    grant = harness.grant(client, ref, due_in=timedelta(hours=-1))
    attempt = next(a for a in harness.start(harness.claim(client, most=1).due) if a.job.grant_id == grant)
    harness.settle((attempt, token_set(f"{ref}-2")))


def wait_of(harness: Harness, grant: UUID) -> timedelta:
    row = harness.row(grant)
    return row["due_at"] - row["asked_at"]  # type: ignore[no-any-return]


# ── dead ────────────────────────────────────────────────────────────────────────────────────────────────────────


DEAD = {
    "a 403": (WITHDRAWN, "revoked", "unauthorized_client", "1: dead, revoked"),
    "a 200": (GONE, "expired", "bad_refresh_token", "2: dead, expired"),
}


@pytest.mark.parametrize("name", DEAD)
def test_a_word_for_dead_makes_a_suspect_and_confirmed_beside_a_witness_the_verdict_with_its_reason(
    harness: Harness, client: int, name: str
) -> None:
    answer, reason, code, rule = DEAD[name]
    grant = harness.grant(client)
    with capture_logs() as lines:
        harness.ask(client, answer)
    assert [(line["outcome"], line["rule"]) for line in lines if line["event"] == "refresh"] == [(code, rule)]
    row = harness.row(grant)
    assert (row["status"], row["failures"], row["doubt_since"]) == ("active", 0, None)
    assert row["suspect_at"] == row["asked_at"]
    assert (row["last_error_code"], row["last_error_rule"]) == (code, rule)
    assert 9 * MINUTE < wait_of(harness, grant) <= 10 * MINUTE
    witness(harness, client)
    ask(harness, client, grant, answer)
    row = harness.row(grant)
    assert (row["status"], row["reason"], row["last_error_rule"]) == ("needs_consent", reason, rule)
    assert harness.letters(grant) == [reason]
    letter = harness.one("select rule, detail from evergrant.dead_letters")
    assert (letter["rule"], letter["detail"]) == (rule, f"{code} (HTTP {answer.status})")
    assert harness.one("select reason from evergrant.events where type = 'grant.needs_consent'")["reason"] == reason


def test_where_it_was_in_doubt_the_reason_stays_the_lost_answer(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    harness.ask(client, LOST)
    ask(harness, client, grant, WITHDRAWN)
    witness(harness, client)
    ask(harness, client, grant, WITHDRAWN)
    assert harness.row(grant)["reason"] == "response_lost"
    assert harness.one("select rule from evergrant.dead_letters")["rule"] == "1: dead, revoked"


def test_without_a_witness_a_word_for_dead_is_no_verdict_either(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    for _ in range(3):
        ask(harness, client, grant, GONE)
    assert harness.row(grant)["status"] == "active"


def test_a_mass_of_words_for_dead_is_held(harness: Harness, client: int) -> None:
    grants = harness.grants(client, 3, access_left=timedelta(seconds=-1))
    for _ in range(3):
        harness.settle(*[(a, WITHDRAWN) for a in harness.start(harness.claim(client).due)])
        harness.later(minutes=11)
    assert {harness.row(grant)["status"] for grant in grants} == {"active"}
    assert harness.events(type="client.deaths_held") == ["client.deaths_held"]
    assert harness.valve(client)["paused_until"] is None


def test_a_word_for_dead_in_a_success_is_believed_only_of_credentials_that_are_proven(harness: Harness) -> None:
    client = harness.client(rotation="immediate", answers=ANSWERS)
    first, second = harness.grants(client, 2)
    by_grant = {attempt.job.grant_id: attempt for attempt in harness.start(harness.claim(client).due)}
    harness.settle((by_grant[first], GONE))
    row = harness.row(first)
    assert (row["suspect_at"], row["last_error_code"]) == (None, "bad_refresh_token_unproven")
    harness.settle((by_grant[second], token_set("2")))
    ask(harness, client, first, GONE)
    assert harness.row(first)["suspect_at"] is not None


@pytest.mark.parametrize("rotation", ["none", "immediate", "grace", "family"])
def test_former_tokens_are_tried_before_a_verdict_in_the_providers_own_words(harness: Harness, rotation: str) -> None:
    client = proven(harness, harness.client(rotation=rotation, answers=ANSWERS))
    grant = harness.grant(client, access_left=timedelta(minutes=1))
    harness.former(grant, "surplus", kind="surplus")
    sent = []
    for _ in range(6):
        if harness.row(grant)["status"] != "active":
            break
        harness.until_due(grant)
        attempts = harness.start(harness.claim(client).due)
        sent += [harness.sent(attempt) for attempt in attempts]
        harness.settle(*[(attempt, WITHDRAWN) for attempt in attempts])
        harness.later(minutes=2)
    assert "rt-surplus" in sent
    assert harness.row(grant)["reason"] == "revoked"


def test_at_family_no_former_token_is_presented_after_a_race_or_a_word_that_is_ours(harness: Harness) -> None:
    client = proven(harness, harness.client(rotation="family", answers=ANSWERS))
    grant = harness.grant(client)
    harness.former(grant, "surplus", kind="surplus")
    ask(harness, client, grant, WITHDRAWN)
    for answer in (BUSY, FOREIGN, BUSY):
        harness.until_due(grant)
        harness.run("update evergrant.valves set paused_until = null")
        (attempt,) = harness.start(harness.claim(client).due)
        assert harness.sent(attempt) == "rt-customer-1"
        harness.settle((attempt, answer))


# ── what is none ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_race_is_asked_again_within_seconds_and_never_a_verdict(harness: Harness, client: int) -> None:
    grant = harness.grant(client, access_left=timedelta(seconds=-1))
    waits = []
    for _ in range(12):
        ask(harness, client, grant, BUSY)
        waits.append(wait_of(harness, grant))
    row = harness.row(grant)
    assert (row["status"], row["failures"], row["suspect_at"], row["refusals"]) == ("active", 0, None, 0)
    assert (row["last_error_code"], row["last_error_rule"]) == ("invalid_grant", "3: race")
    assert waits[0] <= timedelta(seconds=6)
    assert MINUTE < waits[-1] <= 5 * MINUTE  # a rule that is wrong must not make a storm
    assert harness.valve(client)["paused_until"] is None
    ask(harness, client, grant, token_set("2"))
    assert harness.row(grant)["last_error_rule"] is None


def test_a_suspect_that_meets_a_race_stays_one_and_is_judged_by_the_next_refusal(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    ask(harness, client, grant, WITHDRAWN)
    suspect_at = harness.row(grant)["suspect_at"]
    witness(harness, client)
    ask(harness, client, grant, BUSY)
    assert harness.row(grant)["status"] == "active"
    assert harness.row(grant)["suspect_at"] is not None
    assert suspect_at is not None
    ask(harness, client, grant, WITHDRAWN)
    assert harness.row(grant)["status"] == "needs_consent"


def test_a_throttled_grant_waits_alone(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    for _ in range(4):
        ask(harness, client, grant, TOO_OFTEN)
        assert harness.valve(client)["paused_until"] is None
    row = harness.row(grant)
    assert (row["failures"], row["suspect_at"], row["doubt_since"], row["refusals"]) == (0, None, None, 0)
    assert (row["last_error_code"], row["last_error_rule"]) == ("Access_Denied", "4: throttled")
    assert timedelta(seconds=20) <= wait_of(harness, grant) <= timedelta(seconds=40)
    told = Response(200, {"retry-after": "200"}, TOO_OFTEN.body)
    ask(harness, client, grant, told)
    assert timedelta(seconds=199) < wait_of(harness, grant) <= timedelta(seconds=200)


def test_a_throttled_client_waits_whole_whatever_the_status(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    harness.ask(client, Response(200, {"retry-after": "7"}, b'{"error":"ratelimited"}'))
    valve = harness.valve(client)
    assert valve["pause_reason"] == "ratelimited"
    assert (harness.row(grant)["failures"], harness.row(grant)["doubt_since"]) == (0, None)


def test_what_is_ours_makes_no_suspect_and_three_alike_shut_the_valve(harness: Harness, client: int) -> None:
    grants = harness.grants(client, 3)
    for n in range(3):
        harness.settle(*[(a, FOREIGN) for a in harness.start(harness.claim(client, most=1).due)])
        assert (harness.valve(client)["paused_until"] is not None) is (n == 2)
        harness.later(seconds=0.01)
    assert {harness.row(grant)["suspect_at"] for grant in grants} == {None}
    assert harness.valve(client)["pause_reason"] == "invalid_grant"


@pytest.mark.parametrize(("answer", "cause"), [(FOREIGN, "our_configuration"), (OTHER_SCOPE, "refused")])
def test_a_day_of_a_word_that_is_ours_while_others_succeed_is_told_as_ours(
    harness: Harness, client: int, answer: Response, cause: str
) -> None:
    grant = harness.grant(client)
    for n in range(30):
        ask(harness, client, grant, answer)
        harness.run("update evergrant.valves set paused_until = null")
        witness(harness, client, f"well-{n}")
    assert harness.letters(grant) == [cause]
    assert (harness.row(grant)["status"], harness.row(grant)["suspect_at"]) == ("active", None)
    assert harness.one("select rule from evergrant.dead_letters")["rule"] == harness.row(grant)["last_error_rule"]


def test_a_provider_that_calls_itself_ill_leaves_the_grant_in_doubt(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    harness.ask(client, ILL)
    row = harness.row(grant)
    assert row["doubt_since"] is not None
    assert (row["failures"], row["last_error_rule"]) == (1, "7: ill")


def test_the_word_of_the_standard_stays_what_it_is_beside_rules(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    harness.ask(client, INVALID_GRANT)
    row = harness.row(grant)
    assert row["suspect_at"] is not None
    assert (row["last_error_code"], row["last_error_rule"]) == ("invalid_grant", None)


# ── secrets ─────────────────────────────────────────────────────────────────────────────────────────────────────

SECRET = "rt-opensesame"  # without a digit: a word like any other, if one did not know it
ECHOES: dict[str, Callable[[], Response]] = {
    "as Fitbit does": lambda: Response(
        400, {}, b'{"errors":[{"errorType":"rt-opensesame","message":"Refresh token invalid: rt-opensesame"}]}'
    ),
    "as the error": lambda: Response(400, {}, b'{"error":"rt-opensesame"}'),
    "in a word": lambda: Response(403, {}, b'{"code":"no_such_rt-opensesame"}'),
    "in a success": lambda: Response(200, {}, b'{"ok":false,"error":"rt-opensesame"}'),
    "in a form": lambda: Response(400, {}, b"error=rt-opensesame"),
    "our secret": lambda: Response(401, {}, b'{"error":"topsecretword"}'),
}


@pytest.mark.parametrize("answer", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize("answers", [[], [{"where": {"error": "*"}, "means": "dead", "reason": "revoked"}]])
def test_a_provider_that_repeats_the_token_it_refuses_puts_it_into_no_row_no_event_and_no_log(
    harness: Harness, caplog: pytest.LogCaptureFixture, answers: list[dict[str, Any]], answer: Callable[[], Response]
) -> None:
    client = proven(harness, harness.client(rotation="immediate", answers=answers))
    secret = harness.runtime.vault.seal("topsecretword", table="clients", row_id=client, purpose="secret")
    harness.run(
        "update evergrant.clients set sealed_client_secret = :secret, updated_at = clock_timestamp()", secret=secret
    )
    grant = harness.grant(client, token="opensesame", access_left=timedelta(seconds=-1))
    with capture_logs() as lines, caplog.at_level(logging.DEBUG):
        for _ in range(4):
            ask(harness, client, grant, answer())
    assert lines
    tables = ("grants", "witnesses", "valves", "dead_letters", "events")
    kept = [str(dict(row)) for table in tables for row in harness.all(f"select * from evergrant.{table}")]  # noqa: S608
    for each in (SECRET, "opensesame", "topsecretword"):
        assert each not in "\n".join([*map(str, lines), caplog.text, *kept])
