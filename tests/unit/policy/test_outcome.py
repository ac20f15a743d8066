"""What an answer means: one table a row of docs/reference/outcomes.md, and whatever else a server may say."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.oauth.answer import Answer, HeldBack, NotSent, Response, Silence
from tasks.oauth.provider import Provider
from tasks.oauth.token_answer import TokenSet
from tasks.policy.life import Finding, Life, presented, probed
from tasks.policy.limits import RETRY_AFTER_CAP
from tasks.policy.outcome import (
    Accepted,
    NotNow,
    NotUnderstood,
    Outcome,
    Refreshed,
    Refused,
    Unknown,
    outcome,
    revocation_outcome,
)

PROVIDER = Provider(name="plain")
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OUTCOMES = (Refreshed, HeldBack, NotSent, NotNow, Refused, NotUnderstood, Unknown)
INVALID_GRANT = b'{"error":"invalid_grant","error_description":"The provided authorization grant is invalid"}'
TOKEN_SET = {"access_token": "at", "token_type": "Bearer", "expires_in": 7200, "refresh_token": "rt", "scope": "b a"}


def told(answer: Answer, *, proven: bool = True) -> Outcome:
    return outcome(answer, provider=PROVIDER, proven=proven, wall_clock=NOW, hide=())


def error(status: int, code: str, sentence: str = "") -> Response:
    return Response(status, body=json.dumps({"error": code, "error_description": sentence}).encode())


# ── the table ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("code", ["dns", "connect", "connect_refused", "connect_timeout", "tls", "tls_certificate"])
def test_what_never_left_is_not_sent(code: str) -> None:
    assert told(NotSent(code)) == NotSent(code)


def test_what_a_guard_of_ours_held_back_is_no_answer_of_anybodys() -> None:
    assert told(HeldBack("valve_is_shut", wait=timedelta(1))) == HeldBack("valve_is_shut", wait=timedelta(1))


def test_a_200_with_a_token_set_is_refreshed() -> None:
    assert told(Response(200, body=json.dumps(TOKEN_SET).encode())) == Refreshed(
        token_set=TokenSet("at", "rt", 7200, "b a", "Bearer")
    )


TOKEN_SETS = {
    "no refresh token": ({"refresh_token": None}, None, "b a"),
    "a changed scope": ({"scope": "c"}, "rt", "c"),
    "no scope": ({"scope": None}, "rt", None),
    "a scope with a NUL": ({"scope": "a\0b"}, "rt", "a b"),
    "an error beside the tokens": ({"error": "invalid_grant"}, "rt", "b a"),
}


@pytest.mark.parametrize(("change", "refresh_token", "scope"), TOKEN_SETS.values(), ids=TOKEN_SETS)
def test_a_token_set_that_is_odd_is_a_token_set(
    change: dict[str, object], refresh_token: str | None, scope: str | None
) -> None:
    end = told(Response(200, body=json.dumps(TOKEN_SET | change).encode()))

    assert isinstance(end, Refreshed)
    assert (end.token_set.refresh_token, end.token_set.scope) == (refresh_token, scope)


AROUND = {
    "a notice before it": b"<br />\n<b>Deprecated</b>: x<br />\n" + json.dumps(TOKEN_SET).encode(),
    "a comment behind it": json.dumps(TOKEN_SET).encode() + b"<!-- 0.02s -->",
    "encoded twice": json.dumps(json.dumps(TOKEN_SET)).encode(),
}


@pytest.mark.parametrize("body", AROUND.values(), ids=AROUND)
@pytest.mark.parametrize("status", [200, 400, 500])
def test_what_stands_around_a_token_set_costs_none_and_no_refusal_holds_one(body: bytes, status: int) -> None:
    assert isinstance(told(Response(status, body=body)), Refreshed) == (status == 200)


@pytest.mark.parametrize("status", [200, 400])
def test_an_invalid_grant_amid_a_text_is_no_word_of_the_token_endpoint(status: int) -> None:
    assert isinstance(told(Response(status, body=b"<br />Notice<br />" + INVALID_GRANT)), NotUnderstood)


@pytest.mark.parametrize("status", [200, 201, 203, 299])
def test_any_2xx_may_bring_a_token_set(status: int) -> None:
    end = told(Response(status, body=json.dumps(TOKEN_SET).encode()))

    assert isinstance(end, Refreshed)
    assert end.http_status == status


def test_a_429_is_not_now_and_the_grant_is_not_in_doubt() -> None:
    assert told(Response(429, {"retry-after": "7"})) == NotNow("http_429", 429, timedelta(seconds=7), unknown=False)


def test_a_503_is_not_now_and_unknown_for_routers_say_it_while_the_application_completes() -> None:
    assert told(Response(503, {"retry-after": "7"})) == NotNow("http_503", 503, timedelta(seconds=7), unknown=True)


@pytest.mark.parametrize("status", [429, 503])
def test_a_429_or_503_that_broke_off_is_not_now_as_well_and_unknown(status: int) -> None:
    end = told(Silence("truncated", status, {"retry-after": "7"}))

    assert end == NotNow(f"http_{status}", status, timedelta(seconds=7), unknown=True)


@pytest.mark.parametrize("status", [429, 503])
def test_a_429_or_503_is_not_now_whatever_its_body_says(status: int) -> None:
    assert isinstance(told(Response(status, body=INVALID_GRANT)), NotNow)


def test_a_400_invalid_grant_is_refused() -> None:
    assert told(Response(400, body=INVALID_GRANT)) == Refused()


REFUSED_BODIES = {
    "with a BOM": b"\xef\xbb\xbf" + INVALID_GRANT,
    "in UTF-16": INVALID_GRANT.decode().encode("utf-16"),
    "with a description in Latin-1": b'{"error":"invalid_grant","error_description":"ung\xfcltig"}',
    "with a silly number": b'{"error":"invalid_grant","status":' + b"4" * 5000 + b"}",
    "with line breaks": b'{\r\n "error": "invalid_grant",\r\n "error_description": "a\nb"}\r\n',
}


@pytest.mark.parametrize("body", REFUSED_BODIES.values(), ids=REFUSED_BODIES)
def test_invalid_grant_is_understood_however_it_is_written(body: bytes) -> None:
    assert told(Response(400, body=body)) == Refused()


NOT_REFUSED_BODIES = {
    "a page with a link": b'<html><a href="/login?again=1&error=invalid_grant&lang=en">log in</a></html>',
    "a form": b"error=invalid_grant&error_description=expired",
    "a cut body": b'{"error":"invalid_grant","error_description":"The prov',
    "a cut body with a link": b'{"next":"/a?b=1&error=invalid_grant&c=',
    "a JSON string": b'"invalid_grant"',
    "a list": b'[{"error":"invalid_grant"}]',
    "another member": b'{"message":"invalid_grant"}',
    "another case": b'{"error":"Invalid_Grant"}',
    "nothing": b"",
}


@pytest.mark.parametrize("body", NOT_REFUSED_BODIES.values(), ids=NOT_REFUSED_BODIES)
def test_a_400_that_is_no_json_error_invalid_grant_is_a_refusal_that_nobody_understands(body: bytes) -> None:
    assert isinstance(told(Response(400, body=body)), NotUnderstood)


def test_invalid_grant_is_not_understood_while_nothing_ever_succeeded_under_these_credentials() -> None:
    assert told(Response(400, body=INVALID_GRANT), proven=False) == NotUnderstood("invalid_grant_unproven", 400)


NOT_UNDERSTOOD = {
    (401, "invalid_client"),
    (400, "invalid_client"),
    (400, "unauthorized_client"),
    (403, "unauthorized_client"),
    (400, "unsupported_grant_type"),
    (400, "invalid_request"),
    (400, "invalid_scope"),
    (401, "invalid_grant"),
    (403, "invalid_grant"),
    (404, "not_found"),
}


@pytest.mark.parametrize(("status", "code"), sorted(NOT_UNDERSTOOD))
@pytest.mark.parametrize("proven", [True, False])
def test_any_other_4xx_is_not_understood(status: int, code: str, proven: bool) -> None:
    assert told(error(status, code), proven=proven) == NotUnderstood(code, status)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 413, 415, 418, 451, 499])
def test_a_4xx_without_an_oauth_error_is_not_understood_either(status: int) -> None:
    assert told(Response(status, body=b"<html>no</html>")) == NotUnderstood(f"http_{status}", status)


@pytest.mark.parametrize("body", [b"<html>no</html>", b"", INVALID_GRANT])
def test_a_408_is_unknown_because_a_machine_in_between_may_have_stopped_waiting(body: bytes) -> None:
    assert told(Response(408, body=body)) == Unknown("http_408", 408)


@pytest.mark.parametrize("status", [100, 300, 301, 302, 303, 307, 308, 500, 501, 502, 504, 520, 599, 600, 999])
def test_a_redirect_and_a_5xx_are_unknown_however_oauth_like_the_body(status: int) -> None:
    assert told(Response(status, body=INVALID_GRANT)) == Unknown(f"http_{status}", status)


@pytest.mark.parametrize("code", ["timeout", "reset", "malformed", "truncated", "too_large", "internal"])
@pytest.mark.parametrize("status", [None, 200, 400, 500])
def test_an_answer_that_did_not_come_whole_is_unknown(code: str, status: int | None) -> None:
    assert told(Silence(code, status)) == Unknown(code, status)


UNREADABLE = {
    "HTML": b"<html><body>Welcome</body></html>",
    "a head alone": b"<head><title>Log in</title></head>",
    "a script alone": b"<script>location='/login'</script>",
    "a page in UTF-16": "<html>Log in</html>".encode("utf-16"),
    "a page behind a long comment": b"<!--" + b"x" * 1100 + b"-->\n<html>",
    "half a token set in UTF-16": '{"access_token":"a"'.encode("utf-16"),
    "nothing": b"",
    "a cut token set": json.dumps(TOKEN_SET).encode()[:-20],
    "no access token": b'{"refresh_token":"rt"}',
    "a cut list": b'[{"error":',
    "a token set in XML": b"<token><access_token>a</access_token><refresh_token>r</refresh_token></token>",
    "the end of a form": b"en=a&refresh_token=r&expires_in=7200",
    "a page within XML": b'<?xml version="1.0"?>\n<!DOCTYPE html><html lang="en"><title>Log in</title></html>',
    "a token with a line break": b'{"access_token":"a\\nb"}',
    "half a token set, encoded twice": json.dumps('{"access_token":5,"refresh_token":"r"}').encode(),
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_a_200_without_a_token_set_is_unknown(body: bytes) -> None:
    assert told(Response(200, body=body)) == Unknown("unreadable", 200)


@pytest.mark.parametrize("body", [b"{}", b"[1]", b"null", b'{"data":null}', b"<r><gone/></r>", b"Token revoked."])
def test_a_200_that_says_nothing_that_we_read_is_a_refusal_first_of_all_of_its_grant(body: bytes) -> None:
    end = told(Response(200, body=body))
    assert end == NotUnderstood("unreadable", 200, unknown=True)
    assert end.says_nothing


@pytest.mark.parametrize("body", [b"\x8b\x00\x80{}\x03", b"", b"{}"])
def test_a_200_that_is_encoded_still_is_nobodys_word(body: bytes) -> None:
    answer = Response(200, body=body, is_encoded=True)

    assert told(answer) == Unknown("unreadable", 200)
    assert presented(answer, PROVIDER) is Life.UNTOLD
    assert presented(Response(401, body=body, is_encoded=True), PROVIDER) is Life.DEAD


def test_a_token_set_is_one_whatever_its_header_says_of_codings() -> None:
    answer = Response(200, body=json.dumps(TOKEN_SET).encode(), is_encoded=True)

    assert isinstance(told(answer), Refreshed)


@pytest.mark.parametrize("status", [200, 201, 226])
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (INVALID_GRANT, "invalid_grant"),
        (b'{"error":"bad_refresh_token","error_description":"expired"}', "bad_refresh_token"),
        (b"error=bad_refresh_token&error_description=expired", "bad_refresh_token"),
    ],
)
def test_an_error_inside_a_success_is_a_refusal_in_words_of_its_own_and_may_hide_an_answer(
    status: int, body: bytes, code: str
) -> None:
    assert told(Response(status, body=body)) == NotUnderstood(code, status, unknown=True)


# ── Retry-After ─────────────────────────────────────────────────────────────────────────────────────────────────

AT = "Sun, 01 Mar 2026 12:00:00 GMT"
RETRY_AFTERS: dict[str, tuple[dict[str, str], timedelta | None]] = {
    "absent": ({}, None),
    "empty": ({"retry-after": "  "}, None),
    "seconds": ({"retry-after": "30"}, timedelta(seconds=30)),
    "seconds with spaces": ({"retry-after": " 30 "}, timedelta(seconds=30)),
    "nothing to wait": ({"retry-after": "0"}, timedelta(0)),
    "an hour": ({"retry-after": "3600"}, RETRY_AFTER_CAP),
    "absurd": ({"retry-after": "9" * 400}, RETRY_AFTER_CAP),
    "negative": ({"retry-after": "-5"}, None),
    "a fraction": ({"retry-after": "1.5"}, None),
    "digits of another script": ({"retry-after": "٣٠"}, None),
    "words": ({"retry-after": "soon"}, None),
    "a date by our clock": ({"retry-after": "Sun, 01 Mar 2026 12:01:00 GMT"}, timedelta(minutes=1)),
    "a date by theirs": (
        {"retry-after": "Sun, 01 Mar 2026 14:00:20 GMT", "date": "Sun, 01 Mar 2026 14:00:00 GMT"},
        timedelta(seconds=20),
    ),
    "a date of another zone": ({"retry-after": "Sun, 01 Mar 2026 14:01:00 +0200"}, timedelta(minutes=1)),
    "a date without a zone": ({"retry-after": "Sun, 01 Mar 2026 12:01:00 -0000"}, timedelta(minutes=1)),
    "a date long ago": ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, timedelta(0)),
    "a date far away": ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, RETRY_AFTER_CAP),
    "a date that never is": ({"retry-after": "Sun, 32 Mar 2026 12:01:00 GMT"}, None),
    "a year beyond all": ({"retry-after": "Sun, 01 Mar 99999 12:01:00 GMT"}, None),
    "their clock is no date": ({"retry-after": "Sun, 01 Mar 2026 12:01:00 GMT", "date": "now"}, timedelta(minutes=1)),
}


@pytest.mark.parametrize(("headers", "wait"), RETRY_AFTERS.values(), ids=RETRY_AFTERS)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_read_in_seconds_or_as_a_date_up_to_five_minutes(
    headers: dict[str, str], wait: timedelta | None, status: int
) -> None:
    end = told(Response(status, headers))

    assert isinstance(end, NotNow)
    assert end.retry_after == wait


def test_the_header_is_named_as_the_provider_file_names_it() -> None:
    answer = Response(429, {"x-ratelimit-reset-after": "9", "retry-after": "60"})

    end = outcome(
        answer,
        provider=PROVIDER.model_copy(update={"retry_after_header": "X-RateLimit-Reset-After"}),
        proven=True,
        wall_clock=NOW,
        hide=(),
    )

    assert isinstance(end, NotNow)
    assert end.retry_after == timedelta(seconds=9)


RATE_LIMIT = b'{"message": "You have exceeded a secondary rate limit"}'
ASKED_TO_WAIT: dict[str, tuple[Response, NotNow]] = {
    "GitHub's secondary limit": (
        Response(403, {"retry-after": "60"}, RATE_LIMIT),
        NotNow("asked_to_wait", 403, timedelta(minutes=1)),
    ),
    "a word of its own, and a date": (
        Response(400, {"retry-after": "Sun, 01 Mar 2026 12:01:00 GMT"}, b'{"error":"not_yet"}'),
        NotNow("not_yet", 400, timedelta(minutes=1)),
    ),
    "an hour": (Response(404, {"retry-after": "3600"}), NotNow("http_404", 404, RETRY_AFTER_CAP)),
    "a wall": (Response(403, {"retry-after": "9"}, b"<html>"), NotNow("http_403", 403, timedelta(seconds=9))),
    "a server that is ill": (
        Response(400, {"retry-after": "9"}, b'{"error":"server_error"}'),
        NotNow("server_error", 400, timedelta(seconds=9)),
    ),
    "RFC 6749's word": (error(400, "temporarily_unavailable"), NotNow("temporarily_unavailable", 400)),
    "it with a time": (
        Response(401, {"retry-after": "7"}, b'{"error":"temporarily_unavailable"}'),
        NotNow("temporarily_unavailable", 401, timedelta(seconds=7)),
    ),
    "RFC 8628's word": (error(400, "slow_down"), NotNow("slow_down", 400)),
    **{
        f"the word {word}": (error(400, word), NotNow(word, 400))
        for word in (
            *("rate_limit_exceeded", "RATE_LIMIT", "rateLimitExceeded", "ratelimited", "TooManyRequestsException"),
            *("too_many_attempts", "Throttling.User", "ThrottleExceeded", "request_throttled", "RESOURCE_EXHAUSTED"),
            *("REQUEST_LIMIT_EXCEEDED", "quota_exceeded", "dailyQuotaExceeded", "SlowDownException"),
        )
    },
    "a sentence beside a word that means something else": (
        error(400, "access_denied", "You have made too many requests continuously. Please try again after some time."),
        NotNow("asked_to_wait", 400),
    ),
    "a sentence of nobody's death": (
        error(400, "invalid_grant", "login rate exceeded"),
        NotNow("asked_to_wait", 400),
    ),
    "a sentence that asks to come again": (
        error(400, "access_denied", "Something went wrong. Please try again later."),
        NotNow("asked_to_wait", 400),
    ),
    "a provider that is away for a while": (
        Response(400, {}, b'{"error":{"message":"Service temporarily unavailable","type":"OAuthException","code":2}}'),
        NotNow("asked_to_wait", 400),
    ),
    "a sentence without a word": (Response(403, {}, RATE_LIMIT), NotNow("asked_to_wait", 403)),
}
INSIDE_A_SUCCESS = [b'{"ok": false, "error": "ratelimited"}', b'{"success": false, "message": "Too many requests"}']


@pytest.mark.parametrize(("answer", "end"), ASKED_TO_WAIT.values(), ids=ASKED_TO_WAIT)
@pytest.mark.parametrize("proven", [True, False])
def test_a_4xx_that_asks_to_wait_is_not_now_and_refuses_nobody(answer: Response, end: NotNow, proven: bool) -> None:
    assert told(answer, proven=proven) == end
    assert revocation_outcome(answer, provider=PROVIDER, wall_clock=NOW, hide=()) == end
    assert probed(answer, told(answer)) is Finding.UNCLEAR


@pytest.mark.parametrize("body", INSIDE_A_SUCCESS)
def test_a_success_that_asks_to_wait_is_not_now_and_may_hide_an_answer(body: bytes) -> None:
    answer = Response(200, {"retry-after": "7"}, body)

    end = told(answer)

    assert isinstance(end, NotNow)
    assert (end.http_status, end.retry_after, end.unknown) == (200, timedelta(seconds=7), True)
    revoked = revocation_outcome(answer, provider=PROVIDER, wall_clock=NOW, hide=())
    assert revoked == NotNow(end.code, 200, timedelta(seconds=7))


NO_LIMITS = ["too_many_devices", "too_many_tokens", "access_limited", "user_limit_exceeded", "corporate", "unavailable"]


@pytest.mark.parametrize("code", NO_LIMITS)
def test_a_number_that_a_grant_itself_is_over_asks_nobody_to_wait(code: str) -> None:
    assert told(error(400, code)) == NotUnderstood(code, 400)
    assert told(error(400, "invalid_grant", f"refresh token revoked: {code.replace('_', ' ')}")) == Refused()


def test_whoever_may_come_again_later_with_a_new_code_is_refused_now() -> None:
    assert told(error(400, "invalid_grant", "The code has expired. Please try again later.")) == Refused()


WORDS_OF_A_REFUSAL = ["invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_request"]
WORDS_OF_A_REFUSAL += ["invalid_scope", "access_denied", "invalid_token", "consent_required"]


@pytest.mark.parametrize("code", WORDS_OF_A_REFUSAL)
@pytest.mark.parametrize("status", [400, 401, 403])
def test_no_word_of_the_standards_becomes_not_now_by_a_retry_after(code: str, status: int) -> None:
    answer = Response(status, {"retry-after": "60"}, json.dumps({"error": code}).encode())

    assert told(answer) == NotUnderstood(code, status)


def test_an_invalid_grant_with_a_retry_after_is_refused_all_the_same() -> None:
    later = {"retry-after": "60"}

    assert told(Response(400, later, INVALID_GRANT)) == Refused()
    assert told(Response(400, later, INVALID_GRANT), proven=False) == NotUnderstood("invalid_grant_unproven", 400)
    assert told(Response(401, later, INVALID_GRANT)) == NotUnderstood("invalid_grant", 401)


@pytest.mark.parametrize("value", ["", "0", "soon", "-5", AT])
def test_what_names_no_time_to_come_asks_nobody_to_wait(value: str) -> None:
    assert told(Response(403, {"retry-after": value}, b'{"message": "No."}')) == NotUnderstood("http_403", 403)


def test_a_header_of_a_providers_own_is_in_all_of_its_answers_perhaps_and_makes_none_of_them_not_now() -> None:
    provider = PROVIDER.model_copy(update={"retry_after_header": "X-RateLimit-Reset-After"})

    def read(answer: Response) -> Outcome:
        return outcome(answer, provider=provider, proven=True, wall_clock=NOW, hide=())

    headers = {"x-ratelimit-reset-after": "9"}
    assert read(Response(403, headers, b'{"error":"gone"}')) == NotUnderstood("gone", 403)
    assert read(Response(400, headers, b'{"error":"slow_down"}')) == NotNow("slow_down", 400, timedelta(seconds=9))


dates = st.datetimes(timezones=st.timezones()).map(lambda at: at.strftime("%a, %d %b %Y %H:%M:%S %z"))
scraps = st.lists(
    st.sampled_from(
        ["Sun,", "Mon", "01", "31", "32", "Mar", "Feb", "2026", "99999", "12:00:00", "25:61", "GMT", "-9999"]
    )
)


@given(value=st.one_of(st.text(max_size=40), dates, scraps.map(" ".join)), date=st.one_of(st.text(max_size=20), dates))
@example(value="Sun, 01 Mar 2026 12:00:00 +9999", date="")
@example(value="Mon, 01 Jan 0001 00:00:00 +2300", date="Fri, 31 Dec 9999 23:59:59 -2300")
def test_whatever_retry_after_says_the_wait_is_between_nothing_and_five_minutes(value: str, date: str) -> None:
    end = told(Response(429, {"retry-after": value, "date": date}))

    assert isinstance(end, NotNow)
    assert end.retry_after is None or timedelta(0) <= end.retry_after <= RETRY_AFTER_CAP


# ── any answer at all ───────────────────────────────────────────────────────────────────────────────────────────

codes = st.sampled_from(["invalid_grant", "invalid_client", "server_error", "temporarily_unavailable", "x"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | codes,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
members = st.dictionaries(
    st.sampled_from(
        ["access_token", "refresh_token", "expires_in", "scope", "token_type", "error", "error_description"]
    ),
    codes | json_values,
)
told_bodies = st.one_of(
    members.map(lambda found: json.dumps(found).encode()),
    st.tuples(members, st.integers(0, 60)).map(lambda cut: json.dumps(cut[0]).encode()[: cut[1]]),
    codes.map(lambda code: f"error={code}&access_token=".encode()),
    codes.map(lambda code: f'<html><a href="?a=1&error={code}&b=2">{{"error":"{code}"}}</a>'.encode()),
    st.just(INVALID_GRANT),
    st.binary(max_size=200),
    st.sampled_from(
        [b"[" * 5000, b'{"error":' * 3000, b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00", b"NaN", b"\x00" * 100]
    ),
)
headers = st.dictionaries(
    st.sampled_from(["retry-after", "date", "content-type", "content-length", "location"]), st.text(max_size=30)
)
responses = st.builds(
    Response, st.integers(0, 999) | st.sampled_from([200, 400, 400, 401, 429, 503]), headers, told_bodies
)
answers = st.one_of(
    responses,
    st.builds(Silence, st.text(max_size=10), st.none() | st.integers(0, 999), headers),
    st.builds(NotSent, st.text(max_size=10), st.none()),
)


def says_invalid_grant(answer: Answer) -> bool:
    """Written anew on purpose: a 400 whose whole body is a JSON object with the error invalid_grant."""
    if not isinstance(answer, Response) or answer.status != 400:
        return False
    try:
        body = json.loads(
            answer.body.decode(json.detect_encoding(answer.body), "replace").lstrip("\ufeff"), strict=False
        )
    except (ValueError, RecursionError):
        return False
    said = body.get("error") if isinstance(body, dict) else None
    return said == "invalid_grant" or (isinstance(said, dict) and "invalid_grant" in said.values())


@given(answer=answers, proven=st.booleans())
def test_whatever_is_answered_is_an_outcome_and_a_verdict_needs_a_plain_400_invalid_grant(
    answer: Answer, proven: bool
) -> None:
    end = told(answer, proven=proven)

    assert isinstance(end, OUTCOMES)
    assert isinstance(end.code, str)
    if isinstance(end, Refused):
        assert proven
        assert says_invalid_grant(answer)
    if isinstance(answer, Response) and answer.status >= 500:
        assert isinstance(end, Unknown | NotNow)


@given(answer=answers)
def test_whatever_is_answered_to_a_revocation_a_probe_or_a_look_is_a_value(answer: Answer) -> None:
    end = revocation_outcome(answer, provider=PROVIDER, wall_clock=NOW, hide=())

    assert isinstance(end, (Accepted, HeldBack, NotSent, NotNow, NotUnderstood, Unknown))
    assert isinstance(probed(answer, told(answer)), Finding)
    assert isinstance(presented(answer, PROVIDER), Life)


# ── revocation, probe, look ─────────────────────────────────────────────────────────────────────────────────────


REVOCATIONS: dict[str, tuple[Answer, type]] = {
    "200": (Response(200, body=b"{}"), Accepted),
    "204": (Response(204), Accepted),
    "the wrong client": (error(403, "unauthorized_client"), NotUnderstood),
    "invalid_grant": (Response(400, body=INVALID_GRANT), NotUnderstood),
    "the token still exists": (Response(503), NotNow),
    "a 500": (Response(500), Unknown),
    "a redirect": (Response(302), Unknown),
    "silence": (Silence("timeout"), Unknown),
    "not sent": (NotSent("dns"), NotSent),
}


@pytest.mark.parametrize(("answer", "kind"), REVOCATIONS.values(), ids=REVOCATIONS)
def test_the_answer_to_a_revocation_is_read_for_what_it_is(answer: Answer, kind: type) -> None:
    assert type(revocation_outcome(answer, provider=PROVIDER, wall_clock=NOW, hide=())) is kind


TAKEN = [
    b"",
    b"{}",
    b'{"ok":true}',
    b'{"success":true,"errors":[]}',
    b'{"error":null}',
    b'{"data":{},"error":{"code":"ok","message":"","log_id":"x"}}',
    b'{"errcode":0,"errmsg":"ok"}',
    b"OK",
    b"null",
    b"<ok/>",
    b"[]",
]


@pytest.mark.parametrize("body", TAKEN)
@pytest.mark.parametrize("status", [200, 202])
def test_a_revocation_is_taken_by_a_success_that_tells_no_error(body: bytes, status: int) -> None:
    end = revocation_outcome(Response(status, body=body), provider=PROVIDER, wall_clock=NOW, hide=())
    assert end == Accepted(http_status=status)


NOT_TAKEN = {
    "Slack's": (b'{"ok":false,"error":"invalid_auth"}', "invalid_auth"),
    "a status": (b'{"status":"failure"}', "failure"),
    "a success that is none": (b'{"success":false,"code":"GONE"}', "GONE"),
    "a list of errors": (b'{"errors":[{"code":"NOT_FOUND"}]}', "NOT_FOUND"),
    "our client": (b'{"error":"invalid_client"}', "invalid_client"),
    "a form": (b"error=invalid_client", "invalid_client"),
    "the secret itself": (b'{"error":"oursecretwords"}', "unrecognised"),
    "no word": (b'{"success":false}', "http_200"),
    "a number": (b'{"errcode":40001,"errmsg":"invalid credential"}', "40001"),
    "a page that wants a login": (b"<!DOCTYPE html><title>Sign in</title>", "unreadable"),
    "a script": (b"<script>location='/login'</script>", "unreadable"),
    "a page in UTF-16": ("<html>Sign in".encode("utf-16"), "unreadable"),
}


@pytest.mark.parametrize(("body", "code"), NOT_TAKEN.values(), ids=NOT_TAKEN)
def test_a_success_that_tells_an_error_or_is_a_page_takes_no_revocation(body: bytes, code: str) -> None:
    answer = Response(200, body=body)
    end = revocation_outcome(answer, provider=PROVIDER, wall_clock=NOW, hide=["oursecretwords"])
    assert end == NotUnderstood(code, 200)


def test_a_status_by_which_a_provider_says_that_a_token_is_gone_is_taken_whatever_its_body() -> None:
    answer = Response(404, body=b'{"error":"not_found"}')
    end = revocation_outcome(answer, provider=PROVIDER, wall_clock=NOW, hide=(), already_gone=frozenset({404}))
    assert end == Accepted(http_status=404)


FORM_GRANT, FORM_SCOPE = b"error=invalid_grant&error_description=expired", b"error=invalid_scope"
LINK = b'<a href="?a=1&error=invalid_grant&b=2">'

PROBES: dict[str, tuple[Answer, Finding]] = {
    "invalid_scope": (error(400, "invalid_scope"), Finding.ALIVE),
    "invalid_grant": (error(400, "invalid_grant"), Finding.DEAD),
    "a token set": (Response(200, body=json.dumps(TOKEN_SET).encode()), Finding.REFRESHED),
    "a token set under 201": (Response(201, body=json.dumps(TOKEN_SET).encode()), Finding.REFRESHED),
    "a page under 200": (Response(200, body=b"<html>Back soon"), Finding.UNCLEAR),
    "an error under 200": (error(200, "invalid_grant"), Finding.UNCLEAR),
    "a refused scope under 200": (error(200, "invalid_scope"), Finding.UNCLEAR),
    "nothing under 204": (Response(204), Finding.UNCLEAR),
    "invalid_grant under 401": (error(401, "invalid_grant"), Finding.UNCLEAR),
    "invalid_grant under 403": (error(403, "invalid_grant"), Finding.UNCLEAR),
    "invalid_grant under 500": (error(500, "invalid_grant"), Finding.UNCLEAR),
    "invalid_grant as a form": (Response(400, body=FORM_GRANT), Finding.UNCLEAR),
    "invalid_grant in a page's link": (Response(400, body=LINK), Finding.UNCLEAR),
    "invalid_scope under 401": (error(401, "invalid_scope"), Finding.UNCLEAR),
    "invalid_scope as a form": (Response(400, body=FORM_SCOPE), Finding.UNCLEAR),
    "invalid_client": (error(401, "invalid_client"), Finding.MISCONFIGURED),
    "invalid_client under 400": (error(400, "invalid_client"), Finding.MISCONFIGURED),
    "unauthorized_client": (error(400, "unauthorized_client"), Finding.MISCONFIGURED),
    "a page under 400": (Response(400, body=b"<html>"), Finding.MISCONFIGURED),
    "no token endpoint": (Response(404, body=b"<html>"), Finding.MISCONFIGURED),
    "a gateway that waits no longer": (Response(408), Finding.UNCLEAR),
    "too many requests": (Response(429), Finding.UNCLEAR),
    "too many requests, with an error": (error(429, "invalid_grant"), Finding.UNCLEAR),
    "a bad day": (error(503, "invalid_grant"), Finding.UNCLEAR),
    "a gateway": (Response(502), Finding.UNCLEAR),
    "a redirect": (Response(302), Finding.UNCLEAR),
    "silence": (Silence("reset"), Finding.UNCLEAR),
    "a cut token set": (Silence("truncated", 200), Finding.UNCLEAR),
    "not sent": (NotSent("dns"), Finding.UNCLEAR),
    "held back": (HeldBack("valve_is_shut"), Finding.BUSY),
}


@pytest.mark.parametrize(("answer", "finding"), PROBES.values(), ids=PROBES)
def test_a_probe_tells_life_or_death_only_where_the_token_endpoint_said_so(answer: Answer, finding: Finding) -> None:
    assert probed(answer, told(answer)) is finding


@given(answer=answers)
def test_a_probe_calls_a_token_dead_wherever_a_refresh_is_refused_and_nowhere_else(answer: Answer) -> None:
    found = probed(answer, told(answer))

    assert (found is Finding.DEAD) == isinstance(told(answer), Refused)
    assert (found is Finding.REFRESHED) == isinstance(told(answer), Refreshed)


LIVES = {Finding.ALIVE: Life.ALIVE, Finding.REFRESHED: Life.ALIVE, Finding.DEAD: Life.DEAD}


@pytest.mark.parametrize("finding", Finding)
def test_what_was_not_found_out_is_told_of_no_token(finding: Finding) -> None:
    assert finding.life is LIVES.get(finding, Life.UNTOLD)


@pytest.mark.parametrize(
    ("answer", "life"),
    [
        (Response(200), Life.ALIVE),
        (Response(204), Life.ALIVE),
        (Response(200, body=b'{"error": null, "data": []}'), Life.ALIVE),
        (Response(200, body=b"<!doctype html><p>Back soon"), Life.UNTOLD),
        (Response(200, body=b"\xef\xbb\xbf<html>Log in"), Life.UNTOLD),
        (Response(200, body="<html>Log in".encode("utf-16")), Life.UNTOLD),
        (Response(200, body="<html>Log in".encode("utf-16-le")), Life.UNTOLD),
        (Response(200, body=b'{"error": "temporarily_unavailable"}'), Life.UNTOLD),
        (Response(401), Life.DEAD),
        (Response(403), Life.UNTOLD),
        (Response(429), Life.UNTOLD),
        (Response(302), Life.UNTOLD),
        (Response(500), Life.UNTOLD),
        (Silence("timeout"), Life.UNTOLD),
        (NotSent("dns"), Life.UNTOLD),
    ],
)
def test_only_a_401_shows_that_an_access_token_is_dead(answer: Answer, life: Life) -> None:
    assert presented(answer, PROVIDER) is life


def test_no_code_repeats_the_assertion_that_the_request_showed() -> None:
    answer = Response(400, {}, b'{"error": "asserted"}', assertion="eyJ.asserted.xyz")
    for read in (outcome(answer, provider=PROVIDER, proven=True, wall_clock=NOW, hide=()), revoked(answer)):
        assert read.code == "unrecognised"


def test_secrets_that_can_be_read_once_only_are_hidden_all_the_same() -> None:
    answer = Response(400, {}, b'{"error": "ourclientsecret"}')
    told = revocation_outcome(answer, provider=PROVIDER, wall_clock=NOW, hide=iter(["ourclientsecret"]))
    assert told.code == "unrecognised"
    told = outcome(answer, provider=PROVIDER, proven=True, wall_clock=NOW, hide=iter(["ourclientsecret"]))
    assert told.code == "unrecognised"


def revoked(answer: Response) -> Accepted | Outcome:
    return revocation_outcome(answer, provider=PROVIDER, wall_clock=NOW, hide=())
