import json
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.oauth.error_answers import ErrorAnswer
from tasks.oauth.token_answer import (
    SECONDS_LIMIT,
    Ends,
    TokenSet,
    Unreadable,
    read_token_answer,
    scope_set,
)
from tasks.oauth.token_paths import RFC, SecondTokenSet, TokenPaths

SECRET = "s3cr3t-of-the-client"
DOORKEEPER = (
    b'{"access_token":"a","token_type":"Bearer","expires_in":7200,"refresh_token":"r",'
    b'"scope":"crm_manage crm_read","created_at":1700000000}'
)

NO_LENGTH = TokenSet("a", ends=Ends(strange=("expires_in",)))

TOKEN_SETS = {
    "doorkeeper": (DOORKEEPER, TokenSet("a", "r", 7200, "crm_manage crm_read", "Bearer")),
    "no refresh token: the old one stays": (b'{"access_token":"a"}', TokenSet("a")),
    "null members": (b'{"access_token":"a","refresh_token":null,"expires_in":null,"scope":null}', TokenSet("a")),
    "empty refresh token": (b'{"access_token":"a","refresh_token":""}', TokenSet("a")),
    "byte order mark": (b'\xef\xbb\xbf{"access_token":"a"}', TokenSet("a")),
    "utf-16": ('{"access_token":"a"}'.encode("utf-16"), TokenSet("a")),
    "white space around": (b' \r\n{"access_token":"a"}\n ', TokenSet("a")),
    "a number as text": (b'{"access_token":"a","expires_in":"3599"}', TokenSet("a", expires_in=3599)),
    "a fraction": (b'{"access_token":"a","expires_in":10.5}', TokenSet("a", expires_in=10.5)),
    "negative": (b'{"access_token":"a","expires_in":-5}', TokenSet("a", expires_in=-5)),
    "absurd": (b'{"access_token":"a","expires_in":1e400}', NO_LENGTH),
    "longer than any int": (b'{"access_token":"a","expires_in":' + b"9" * 9000 + b"}", NO_LENGTH),
    "not a number": (b'{"access_token":"a","expires_in":NaN}', NO_LENGTH),
    "no number at all": (b'{"access_token":"a","expires_in":[1]}', NO_LENGTH),
    "true is no number": (b'{"access_token":"a","expires_in":true}', NO_LENGTH),
    "an instant where a length should be": (b'{"access_token":"a","expires_in":1795867200}', NO_LENGTH),
    "an instant in milliseconds there": (b'{"access_token":"a","expires_in":1795867200000}', NO_LENGTH),
    "for ever, as some write it": (b'{"access_token":"a","expires_in":2147483647}', TokenSet("a", None, 2147483647)),
    "scope with commas, as Event Temple has it": (
        b'{"access_token":"a","scope":"crm_read,crm_manage"}',
        TokenSet("a", scope="crm_read,crm_manage"),
    ),
    "scope as a list": (b'{"access_token":"a","scope":["x","y",3]}', TokenSet("a", scope="x y")),
    "scope with NUL": (b'{"access_token":"a","scope":"x\\u0000y\\n"}', TokenSet("a", scope="x y")),
    "scope with half a surrogate pair": (b'{"access_token":"a","scope":"x\\ud800"}', TokenSet("a", scope="x")),
    "scope of a wrong type": (b'{"access_token":"a","scope":{"x":1}}', TokenSet("a")),
    "raw control characters": (b'{"access_token":"a","scope":"x\ty"}', TokenSet("a", scope="x y")),
    "invalid utf-8 beside the token": (b'{"access_token":"a","user":"M\xfcller"}', TokenSet("a")),
    "token type of a wrong type": (b'{"access_token":"a","token_type":7}', TokenSet("a")),
    "the last of two counts": (b'{"access_token":"b","access_token":"a"}', TokenSet("a")),
    "empty error": (b'{"access_token":"a","error":""}', TokenSet("a")),
    "a token set beside an error is kept": (b'{"access_token":"a","error":"odd"}', TokenSet("a")),
    "form-encoded": (
        b"access_token=a&scope=repo%2Cgist&token_type=bearer",
        TokenSet("a", scope="repo,gist", token_type="bearer"),
    ),
}


@pytest.mark.parametrize(("body", "expected"), TOKEN_SETS.values(), ids=TOKEN_SETS.keys())
def test_a_token_set_is_read(body: bytes, expected: TokenSet) -> None:
    assert read_token_answer(body) == expected


ERRORS = {
    "rfc 6749": (
        b'{"error":"invalid_grant","error_description":"It is revoked."}',
        ErrorAnswer("invalid_grant", "It is revoked."),
    ),
    "code alone": (b'{"error":"invalid_client"}', ErrorAnswer("invalid_client")),
    "form-encoded": (b"error=bad_verification_code&error_description=x", ErrorAnswer("bad_verification_code", "x")),
    "an object": (b'{"error":{"type":"OAuthException","code":190}}', ErrorAnswer("OAuthException")),
    "an object's message": (b'{"error":{"message":"No.","code":190}}', ErrorAnswer("190", "No.")),
    "a number": (b'{"error":400}', ErrorAnswer("400")),
    "a number as long as a token": (b'{"error":4001234}', ErrorAnswer("unrecognised")),
    "true": (b'{"error":true}', ErrorAnswer("unrecognised")),
    "description of a wrong type": (b'{"error":"x","error_description":[1]}', ErrorAnswer("x")),
    "an unusable token beside it": (b'{"error":"x","access_token":7}', ErrorAnswer("x")),
    "control characters": (b'{"error":"x","error_description":"a\\u0000\\u001b[31mb"}', ErrorAnswer("x", "a [31mb")),
}


@pytest.mark.parametrize("told", ["false", "0", "0.0", "[]", "{}", "null", '""'])
@pytest.mark.parametrize("paths", [RFC, TokenPaths(access_token=("data.token", "access_token"))], ids=["rfc", "file"])
def test_a_refresh_token_that_is_nothing_is_none(told: str, paths: TokenPaths) -> None:
    body = f'{{"access_token":"a","refresh_token":{told}}}'.encode()

    assert read_token_answer(body, paths=paths) == TokenSet("a")


@pytest.mark.parametrize("told", ["5", "true", '["r"]', '{"token":"r"}', '"r\\n"', '"\\u00e9"'])
@pytest.mark.parametrize("paths", [RFC, TokenPaths(access_token=("data.token", "access_token"))], ids=["rfc", "file"])
def test_a_refresh_token_that_could_not_be_sent_back_costs_no_access_token_and_is_named(
    told: str, paths: TokenPaths
) -> None:
    body = f'{{"access_token":"a","expires_in":60,"refresh_token":{told}}}'.encode()

    answer = read_token_answer(body, paths=paths)

    assert answer == TokenSet("a", expires_in=60, ends=Ends(strange=("refresh_token",)))


def test_an_unusable_refresh_token_at_one_place_leaves_the_next_to_count() -> None:
    body = b'{"access_token":"a","refresh_token":false,"next":"r"}'

    assert read_token_answer(body, paths=TokenPaths(refresh_token=("refresh_token", "next"))) == TokenSet("a", "r")


@pytest.mark.parametrize(("body", "expected"), ERRORS.values(), ids=ERRORS.keys())
def test_an_error_is_read(body: bytes, expected: ErrorAnswer) -> None:
    assert read_token_answer(body) == expected


UNREADABLE = {
    "nothing": (b"", "empty"),
    "white space": (b" \r\n", "empty"),
    "html": (b"<html><body>error=503&amp;access_token=x</body></html>", "not_json"),
    "truncated": (DOORKEEPER[:-1], "not_json"),
    "deep nesting": (b"[" * 60_000, "not_json"),
    "deep nesting within": (b'{"access_token":"a","x":' + b"[" * 60_000 + b"]" * 60_000 + b"}", "not_json"),
    "an array": (b'[{"access_token":"a"}]', "no_token"),
    "a string": (b'"access_token"', "no_token"),
    "null": (b"null", "no_token"),
    "no members": (b"{}", "no_token"),
    "a null token": (b'{"access_token":null,"refresh_token":"r"}', "no_token"),
    "a token that is a number": (b'{"access_token":1}', "bad_token"),
    "a token that is a list": (b'{"access_token":["a"]}', "bad_token"),
    "a token with NUL": (b'{"access_token":"a\\u0000"}', "bad_token"),
    "a token with a line break": (b'{"access_token":"a\\r\\nX: y"}', "bad_token"),
    "a token that was mangled": (b'{"access_token":"a\xff"}', "bad_token"),
}


@pytest.mark.parametrize(("body", "reason"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_is_neither_is_unreadable(body: bytes, reason: str) -> None:
    assert read_token_answer(body) == Unreadable(reason)


def test_a_description_repeats_no_secret() -> None:
    token = "Zk3xF9Qm2LbT7vW1sYc8"  # a token that we never sent
    body = {"error": "invalid_grant", "error_description": f"refresh_token {token} or pw for {SECRET} is dead"}

    answer = read_token_answer(json.dumps(body).encode(), hide=["pw", SECRET, ""])

    assert answer == ErrorAnswer("invalid_grant", "refresh_token … or … for … is dead")


@pytest.mark.parametrize("code", ["Zk3xF9Qm2LbT7vW1sYc8", "onlyletters", "x" * 65])
def test_an_error_code_that_may_be_a_secret_is_not_repeated(code: str) -> None:
    answer = read_token_answer(json.dumps({"error": code}).encode(), hide=["onlyletters"])

    assert answer == ErrorAnswer("unrecognised")


def test_a_long_description_is_cut() -> None:
    answer = read_token_answer(json.dumps({"error": "x", "error_description": "word " * 1000}).encode())

    assert isinstance(answer, ErrorAnswer)
    assert len(answer.description) == 200


def test_scopes_are_compared_without_their_order() -> None:
    told = ("crm_read,crm_manage", "crm_manage  crm_read", "crm_read, crm_manage", ",crm_manage ,crm_read ")
    assert {scope_set(each) for each in told} == {frozenset({"crm_read", "crm_manage"})}
    assert scope_set(None) == scope_set("") == frozenset()


SENDABLE = st.text() | st.binary().map(repr) | st.none() | st.booleans() | st.integers() | st.floats()
JSON = st.recursive(SENDABLE, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
NAMES = st.sampled_from(
    [
        "access_token",
        "refresh_token",
        "expires_in",
        "expires_at",
        "scope",
        "token_type",
        "error",
        "error_description",
        "data",
        "0",
        "refresh_expires_in",
        "refresh_token_expires_at",
        "consent_expires_in",
    ]
)


def holds_what_it_promises(answer: object) -> bool:
    match answer:
        case TokenSet(expires_in=seconds):
            texts = [answer.access_token, answer.refresh_token or "", answer.scope or "", answer.token_type]
            finite = seconds is None or abs(seconds) <= SECONDS_LIMIT
            return answer.access_token != "" and finite and all(text.isprintable() for text in texts)
        case ErrorAnswer(code=code, description=description):
            return code.isascii() and code != "" and description.isprintable() and len(description) <= 200
        case _:
            return isinstance(answer, Unreadable)


@given(st.binary())
def test_any_bytes_are_read_without_an_error(body: bytes) -> None:
    assert holds_what_it_promises(read_token_answer(body))


@given(st.dictionaries(NAMES, JSON), st.sampled_from(["utf-8", "utf-16", "utf-32"]))
def test_any_members_are_read_without_an_error(found: dict[str, object], encoding: str) -> None:
    body = json.dumps(found).encode(encoding)

    assert holds_what_it_promises(read_token_answer(body))


@given(st.lists(st.tuples(NAMES, st.text())))
def test_any_form_is_read_without_an_error(found: list[tuple[str, str]]) -> None:
    body = "&".join(f"{name}={value}" for name, value in found).encode(errors="surrogatepass")

    assert holds_what_it_promises(read_token_answer(body))


@given(st.binary(max_size=60), st.integers(min_value=0, max_value=len(DOORKEEPER)))
def test_a_damaged_answer_is_read_without_an_error(noise: bytes, at: int) -> None:
    assert holds_what_it_promises(read_token_answer(DOORKEEPER[:at] + noise + DOORKEEPER[at + len(noise) :]))


# ── ends ────────────────────────────────────────────────────────────────────────────────────────────────────────

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "told",
    [
        "2026-11-28T12:00:00Z",
        "2026-11-28T12:00:00.000+00:00",
        "2026-11-28T13:00:00+0100",
        " 2026-11-28 12:00:00 ",  # without a zone it is UTC
        "20261128T120000Z",
        NOON.timestamp(),
        NOON.timestamp() * 1000,
        str(int(NOON.timestamp())),
        str(int(NOON.timestamp() * 1000)),
    ],
)
def test_an_end_is_read_however_it_is_written(told: object) -> None:
    answer = read_token_answer(json.dumps({"access_token": "a", "expires_at": told}).encode())

    assert answer == TokenSet("a", ends=Ends(expires_at=NOON))


@pytest.mark.parametrize(
    "told",
    [
        NOON.timestamp() * 1e6,
        NOON.timestamp() * 1e9,
        3600,
        -1,
        math.nan,
        math.inf,
        True,
        [1],
        {},
        "soon",
        "0001-01-01T00:00+14:00",
    ],
)
def test_an_end_that_makes_no_sense_is_left_out_and_named(told: object) -> None:
    answer = read_token_answer(json.dumps({"access_token": "a", "refresh_token": "r", "expires_at": told}).encode())

    assert answer == TokenSet("a", "r", ends=Ends(strange=("expires_at",)))


def test_a_length_counts_more_than_an_end() -> None:
    answer = read_token_answer(b'{"access_token":"a","expires_in":"60","expires_at":"2026-11-28"}')

    assert answer == TokenSet("a", expires_in=60)


def test_a_length_that_makes_no_sense_leaves_the_end_to_count() -> None:
    answer = read_token_answer(b'{"access_token":"a","expires_in":1795867200,"expires_at":"2026-11-28T12:00"}')

    assert answer == TokenSet("a", ends=Ends(expires_at=NOON, strange=("expires_in",)))


HORIZONS = {
    "GitHub": ({"refresh_token_expires_in": 15897600}, Ends(refresh_life=15897600)),
    "Intuit": (
        {"x_refresh_token_expires_in": 8726400, "x_refresh_token_hard_expires_in": "157680000"},
        Ends(refresh_life=8726400, consent_life=157680000),
    ),
    "Keycloak": ({"refresh_expires_in": 1800}, Ends(refresh_life=1800)),
    "Keycloak, offline": ({"refresh_expires_in": 0}, Ends(refresh_life=math.inf)),
    "less than nothing": ({"refresh_expires_in": -1}, Ends(refresh_life=math.inf)),
    "an instant": ({"refresh_token_expires_at": "2026-11-28T12:00:00Z"}, Ends(refresh_expires_at=NOON)),
    "an instant where a length should be": (
        {"refresh_expires_in": 1795867200, "consent_expires_in": "never"},
        Ends(strange=("refresh_expires_in", "consent_expires_in")),
    ),
}


@pytest.mark.parametrize(("told", "ends"), HORIZONS.values(), ids=HORIZONS.keys())
def test_horizons_are_read(told: dict[str, object], ends: Ends) -> None:
    body = {"access_token": "a", "refresh_token": "r", "expires_in": 60, **told}

    assert read_token_answer(json.dumps(body).encode()) == TokenSet("a", "r", 60, ends=ends)


# ── other places ────────────────────────────────────────────────────────────────────────────────────────────────

NESTED = TokenPaths(
    access_token=("authed_user.access_token", "data.access_token", "data.0.token"),
    refresh_token=("authed_user.refresh_token", "data.refresh_token"),
    expires_in=("data.expires_in",),
    expires_at=("data.access_token_expire_in",),
    scope=("data.scopes", "scope"),
)


def test_a_nested_token_set_is_read_where_the_file_says() -> None:
    body = {"code": 0, "data": {"access_token": "a", "refresh_token": "r", "expires_in": "60", "scopes": ["x", "y"]}}

    assert read_token_answer(json.dumps(body).encode(), paths=NESTED) == TokenSet("a", "r", 60, "x y")


def test_the_first_path_that_holds_something_counts_and_a_list_has_places() -> None:
    body = {"authed_user": {"access_token": ""}, "data": [{"token": "a"}], "scope": "x"}

    assert read_token_answer(json.dumps(body).encode(), paths=NESTED) == TokenSet("a", scope="x")


def test_an_instant_that_a_provider_calls_a_length_is_read_where_the_file_names_it_as_an_instant() -> None:
    body = {"data": {"access_token": "a", "access_token_expire_in": NOON.timestamp()}}

    assert read_token_answer(json.dumps(body).encode(), paths=NESTED) == TokenSet("a", ends=Ends(expires_at=NOON))


def test_a_token_set_at_the_place_of_the_rfc_is_taken_where_the_files_own_places_are_empty() -> None:
    assert read_token_answer(DOORKEEPER, paths=NESTED) == read_token_answer(DOORKEEPER)
    assert read_token_answer(b'{"error":"x"}', paths=NESTED) == ErrorAnswer("x")
    assert read_token_answer(b'{"data":{"access_token":7}}', paths=NESTED) == Unreadable("bad_token")


def test_halves_of_two_token_sets_make_no_pair() -> None:
    body = {"access_token": "bot", "refresh_token": "of-bot", "authed_user": {"access_token": "user"}}
    paths = TokenPaths(access_token=("authed_user.access_token",), refresh_token=("authed_user.refresh_token",))

    assert read_token_answer(json.dumps(body).encode(), paths=paths) == TokenSet("user")


def test_a_refresh_answers_at_the_top_where_the_exchange_had_it_within() -> None:
    paths = TokenPaths(access_token=("authed_user.access_token", "access_token"), refresh_token=("authed_user.r",))

    assert read_token_answer(b'{"access_token":"a","refresh_token":"r"}', paths=paths) == TokenSet("a", "r")


SLACK = SecondTokenSet(suffix="user", within="authed_user")


def test_a_second_token_set_of_one_consent_is_read_beside_the_first() -> None:
    user = {"access_token": "u", "refresh_token": "ur", "expires_in": 43200, "scope": "chat:write"}
    body = {"ok": True, "access_token": "b", "refresh_token": "br", "expires_in": 43200, "authed_user": user}

    answer = read_token_answer(json.dumps(body).encode(), second=SLACK)

    assert answer == TokenSet("b", "br", 43200, second=TokenSet("u", "ur", 43200, "chat:write"))


def test_a_second_token_set_alone_is_not_dropped() -> None:
    body = b'{"ok":true,"authed_user":{"access_token":"u","refresh_token":"ur"}}'

    assert read_token_answer(body, second=SLACK) == TokenSet("u", "ur")
    assert read_token_answer(b'{"access_token":"b","authed_user":{"id":"U1"}}', second=SLACK) == TokenSet("b")


@given(st.dictionaries(NAMES, JSON), st.sampled_from([RFC, NESTED]))
def test_whatever_stands_beside_it_a_usable_token_is_never_lost(found: dict[str, object], paths: TokenPaths) -> None:
    usable = found | {"access_token": "a", "refresh_token": "r"}

    for body in (usable, found | {"data": usable, "authed_user": None}):
        answer = read_token_answer(json.dumps(body).encode(), paths=paths if body is usable else NESTED)
        assert isinstance(answer, TokenSet)
        assert answer.access_token == "a"
        assert answer.refresh_token == "r"


@given(JSON, st.sampled_from([RFC, NESTED, TokenPaths(access_token=("",))]))
def test_any_json_is_read_without_an_error_at_any_paths(found: object, paths: TokenPaths) -> None:
    assert holds_what_it_promises(read_token_answer(json.dumps(found).encode(), paths=paths, second=SLACK))


def test_paths_stay_equal_and_dump_alike_after_they_were_used() -> None:
    used, fresh = TokenPaths(access_token=("data.a",)), TokenPaths(access_token=("data.a",))
    read_token_answer(DOORKEEPER, paths=used)

    assert (used, used.model_dump()) == (fresh, fresh.model_dump())
