"""What an introspection tells: `active` alone, and nothing else."""

import pytest

from tasks.oauth.provider import Provider
from tasks.oauth.transport import Answer, HeldBack, NotSent, Response, Silence
from tasks.policy.introspection import introspected
from tasks.policy.outcome import Finding, Life

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
