"""What an introspection tells: `active` alone of whether a token lives, and `exp` of how long."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tasks.oauth.answer import Answer, HeldBack, NotSent, Response, Silence
from tasks.oauth.provider import Provider
from tasks.oauth.token_answer import Ends, TokenSet
from tasks.policy.introspection import Untold, asks_for_life, introspected, introspected_life
from tasks.policy.life import Finding, Life

ANSWERS: dict[str, tuple[Answer, Finding]] = {
    "active": (Response(200, {}, b'{"active": true, "exp": 1}'), Finding.ALIVE),
    "not active": (Response(200, {}, b'{"active": false}'), Finding.DEAD),
    "a word": (Response(200, {}, b'{"active": "false"}'), Finding.UNCLEAR),
    "a number": (Response(200, {}, b'{"active": 0}'), Finding.UNCLEAR),
    "nothing of it": (Response(200, {}, b"{}"), Finding.UNCLEAR),
    "a list": (Response(200, {}, b"[false]"), Finding.UNCLEAR),
    "a page": (Response(200, {}, b"<html>"), Finding.UNCLEAR),
    "another success": (Response(204, {}, b'{"active": false}'), Finding.UNCLEAR),
    "our secret": (Response(401, {}, b'{"error": "invalid_client"}'), Finding.MISCONFIGURED),
    "our right": (Response(403, {}, b'{"active": false}'), Finding.MISCONFIGURED),
    "an outage": (Response(503, {}, b'{"active": false}'), Finding.UNCLEAR),
    "too much": (Response(429, {}, b""), Finding.UNCLEAR),
    "silence": (Silence("timeout"), Finding.UNCLEAR),
    "not sent": (NotSent("dns"), Finding.UNCLEAR),
    "held back": (HeldBack("x"), Finding.BUSY),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_only_the_servers_own_true_and_false_tell_of_a_token(name: str) -> None:
    answer, expected = ANSWERS[name]
    found = introspected(answer, Provider(name="example"))
    assert found is expected
    assert (found.life is Life.UNTOLD) == (found not in (Finding.ALIVE, Finding.DEAD))


WORDS = Provider.model_validate(
    {
        "name": "example",
        "answers": [
            {"to": "introspect", "status": 404, "means": "dead"},
            {"to": "introspect", "where": {"error": "not_now"}, "means": "throttled"},
            {"to": "introspect", "status": 200, "where": {"why": "wrong app"}, "means": "ours"},
            {"to": "api", "status": 403, "means": "dead"},
        ],
    }
)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Response(404, {}, b""), Finding.DEAD),
        (Response(400, {}, b'{"error": "not_now"}'), Finding.UNCLEAR),
        (Response(200, {}, b'{"active": false, "why": "wrong app"}'), Finding.MISCONFIGURED),
        (Response(200, {}, b'{"active": true, "why": "wrong app"}'), Finding.ALIVE),
        (Response(403, {}, b""), Finding.MISCONFIGURED),
    ],
)
def test_the_providers_own_words_count_where_it_does_not_say_that_the_token_is_active(
    answer: Answer, expected: Finding
) -> None:
    assert introspected(answer, WORDS) is expected


STARTED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
EPOCH = int(STARTED.timestamp())


def told(**members: object) -> timedelta | Untold:
    answer = Response(200, {}, json.dumps({"active": True, **members}).encode())
    return introspected_life(answer, started_at=STARTED, at=STARTED + timedelta(seconds=2))


def test_a_life_is_what_lies_between_the_start_of_the_request_and_the_end_that_was_told() -> None:
    assert told(exp=EPOCH + 60) == timedelta(seconds=60)
    assert told(exp=EPOCH + 60.5) == timedelta(seconds=60.5)


def test_an_end_of_years_is_a_year() -> None:
    assert told(exp=2**31 - 1) == timedelta(days=365)


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({}, "no_exp"),
        ({"exp": None}, "no_exp"),
        ({"exp": str(EPOCH + 60)}, "strange_exp"),
        ({"exp": True}, "strange_exp"),
        ({"exp": [EPOCH + 60]}, "strange_exp"),
        ({"exp": EPOCH + 2}, "strange_exp"),  # now
        ({"exp": EPOCH - 60}, "strange_exp"),
        ({"exp": 3600}, "strange_exp"),  # a length
        ({"exp": 0}, "strange_exp"),
        ({"exp": -1}, "strange_exp"),
        ({"exp": (EPOCH + 60) * 1000}, "strange_exp"),
        ({"exp": 10**18}, "strange_exp"),
        ({"exp": 10**400}, "strange_exp"),
        ({"exp": float("nan")}, "strange_exp"),
        ({"exp": float("inf")}, "strange_exp"),
        ({"active": False, "exp": EPOCH + 60}, "inactive"),
        ({"active": "true", "exp": EPOCH + 60}, "unreadable"),
        ({"active": 1, "exp": EPOCH + 60}, "unreadable"),
    ],
)
def test_what_is_no_end_to_come_tells_no_life(members: dict[str, object], why: str) -> None:
    assert told(**members) == Untold(why)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Response(503, {}, b'{"active": true, "exp": 4000000000}'), "http_503"),
        (Response(200, {}, b"<html>"), "unreadable"),
        (Response(200, {}, b"[]"), "unreadable"),
        (Response(200, {}, b"[" * 50_000), "unreadable"),
        (Silence("timeout"), "timeout"),
        (NotSent("dns"), "dns"),
    ],
)
def test_what_is_no_answer_tells_no_life(answer: Answer, why: str) -> None:
    assert introspected_life(answer, started_at=STARTED, at=STARTED) == Untold(why)


@pytest.mark.parametrize(
    ("token_set", "asked"),
    [
        (TokenSet("a", "r"), True),
        (TokenSet("a", "r", ends=Ends(strange=("expires_in",))), True),
        (TokenSet("a", "r", expires_in=60), False),
        (TokenSet("a", "r", ends=Ends(expires_at=STARTED)), False),
    ],
)
def test_it_is_asked_only_where_the_answer_told_nothing_and_the_file_says_so(token_set: TokenSet, asked: bool) -> None:
    known = {"name": "x", "introspect_url": "https://id.example/introspect"}
    assert asks_for_life(Provider.checked("x", {**known, "life_from": "introspection"}), token_set) is asked
    assert not asks_for_life(Provider.checked("x", known), token_set)
