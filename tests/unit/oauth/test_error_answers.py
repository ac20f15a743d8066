"""A provider's own word for what went wrong, in whatever shape it writes it; and never a secret."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.oauth.error_answers import ErrorAnswer, error_answer, tells_error, word_of
from tasks.oauth.token_answer import Unreadable, read_refusal, read_token_answer

SHAPES: dict[str, tuple[dict[str, Any], str]] = {
    "Fitbit's": ({"errors": [{"errorType": "invalid_grant", "message": "No."}], "success": False}, "invalid_grant"),
    "Strava's": (
        {"message": "Bad", "errors": [{"resource": "RefreshToken", "field": "refresh_token", "code": "invalid"}]},
        "RefreshToken.refresh_token.invalid",
    ),
    "HubSpot's": ({"status": "BAD_REFRESH_TOKEN", "message": "unknown refresh token"}, "BAD_REFRESH_TOKEN"),
    "HubSpot's newer": ({"status": "BAD_REFRESH_TOKEN", "error": "invalid_request"}, "invalid_request"),
    "a type beside a status": ({"status": "error", "errorType": "RATE_LIMIT"}, "RATE_LIMIT"),
    "Notion's": ({"object": "error", "status": 400, "code": "invalid_grant"}, "invalid_grant"),
    "Slack's": ({"ok": False, "error": "invalid_refresh_token"}, "invalid_refresh_token"),
    "Zoom's": ({"reason": "Invalid Token!", "error": "invalid_grant"}, "invalid_grant"),
    "Zoho's": ({"error": "invalid_code"}, "invalid_code"),
    "a code beside a status": ({"code": "INVALID_OAUTH", "status": "error"}, "INVALID_OAUTH"),
    "Meta's": ({"error": {"code": 190, "error_subcode": 463, "message": "Expired"}}, "190.463"),
    "Meta's with a type": ({"error": {"type": "OAuthException", "code": 190}}, "OAuthException"),
    "a number": ({"code": 20026, "msg": "refresh token revoked"}, "20026"),
    "Microsoft's": ({"error": "AADSTS700082"}, "AADSTS700082"),
    "capitals with a digit": ({"code": "OAUTH2_TOKEN_EXPIRED"}, "OAUTH2_TOKEN_EXPIRED"),
    "a status alone": ({"status": "error"}, "error"),
    "a result alone": ({"result": "error", "message": "No."}, "error"),
    "WeChat's": ({"errcode": 40030, "errmsg": "invalid refresh_token"}, "40030"),
    "a number of another name": ({"errorCode": 403048, "errorMessage": "No.", "statusCode": 403}, "403048"),
    "true, and a code": ({"error": True, "code": "invalid_grant", "message": "No."}, "invalid_grant"),
    "true, and a number": ({"error": True, "code": 20026}, "20026"),
    "a list of words": ({"error": ["invalid_grant", "x"]}, "invalid_grant"),
    "a list of objects": ({"error": [{"code": "GONE", "message": "No."}]}, "GONE"),
    "an error within": ({"error": {"error": "invalid_grant", "status": "error"}}, "invalid_grant"),
    "RFC 9457's": ({"type": "token-revoked", "title": "Bad", "status": 400}, "token-revoked"),
    "RFC 9457's, and a code": ({"type": "about:blank", "title": "Bad", "code": "GONE"}, "GONE"),
}


@pytest.mark.parametrize(("body", "code"), SHAPES.values(), ids=SHAPES)
def test_every_shape_has_a_word(body: dict[str, Any], code: str) -> None:
    assert error_answer(body, ()).code == code


IN_SUCCESS = ["Fitbit's", "Strava's", "a type beside a status", "Notion's", "Slack's", "Zoho's"]
IN_SUCCESS += ["a code beside a status", "Meta's", "a status alone", "a result alone", "WeChat's"]
IN_SUCCESS += ["a number of another name"]
NO_ERRORS: list[dict[str, Any]] = [{"status": "ok"}, {"ok": True}, {"code": 0}, {"errors": []}, {"success": True}, {}]
NO_ERRORS += [{"errcode": 0, "errmsg": "ok"}, {"error": "0"}, {"error": {"code": "ok", "message": "", "log_id": "x"}}]
NO_ERRORS += [{"result": "success"}, {"error": {}}, {"errorCode": None}, {"error": "none"}]


@pytest.mark.parametrize("name", IN_SUCCESS)
def test_what_says_by_itself_that_it_went_wrong_is_an_error_in_a_success_too(name: str) -> None:
    body, code = SHAPES[name]
    told = read_token_answer(json.dumps(body).encode())
    assert isinstance(told, ErrorAnswer)
    assert told.code == code


@pytest.mark.parametrize("body", NO_ERRORS)
def test_what_does_not_say_so_is_no_error_in_a_success(body: dict[str, Any]) -> None:
    assert not tells_error(body)
    assert read_token_answer(json.dumps(body).encode()) == Unreadable("no_token")


@pytest.mark.parametrize(
    ("body", "code"),
    [(b'[{"error":{"name":"TokenVoid"}}]', "unrecognised"), (b'[{"errorCode":"GONE","success":false},7]', "GONE")],
)
def test_a_list_of_errors_is_told_by_its_first(body: bytes, code: str) -> None:
    told = read_token_answer(body)
    assert isinstance(told, ErrorAnswer)
    assert told.code == code
    refused = read_refusal(body, hide=())
    assert refused is not None
    assert refused.code == code


@pytest.mark.parametrize("body", [b"[]", b"[7]", b'[[{"error":"x"}]]', b'[{"token":"a"}]'])
def test_another_list_is_no_error(body: bytes) -> None:
    assert read_token_answer(body) == Unreadable("no_token")


@pytest.mark.parametrize("told", [{"error": ["invalid_grant"]}, {"error": True, "code": "invalid_grant"}])
def test_a_word_that_is_not_the_member_error_itself_is_not_the_standards_own(told: dict[str, Any]) -> None:
    assert error_answer(told, ()) == ErrorAnswer("invalid_grant", standard=False)


def test_a_problem_of_no_type_of_its_own_is_told_by_its_status_alone() -> None:
    problem = {"type": "about:blank", "title": "Unauthorized", "status": 401, "detail": "No."}  # RFC 9457 §4.2.1
    assert error_answer(problem, ()) == ErrorAnswer("unrecognised", "No.", standard=False)


@pytest.mark.parametrize(
    "told", [{"error": True, "code": "token"}, {"error": ["token"]}, {"error": {"error": "token"}}]
)
def test_no_shape_repeats_what_was_sent(told: dict[str, Any]) -> None:
    assert error_answer(told, ["token"]).code == "unrecognised"
    assert word_of(told) == "token"


def test_only_the_member_error_is_the_standards_own_word() -> None:
    assert read_refusal(b'{"error":"invalid_grant"}', hide=()) == ErrorAnswer("invalid_grant")
    assert read_refusal(b'{"code":"invalid_grant"}', hide=()) == ErrorAnswer("invalid_grant", standard=False)


TOKEN = "onlyletters"
ECHOES: list[Any] = [
    {"error": TOKEN},
    {"error": {"type": TOKEN, "code": TOKEN}},
    {"error": f"invalid_token_{TOKEN}"},
    {"errors": [{"errorType": TOKEN, "message": f"Refresh token invalid: {TOKEN}"}]},
    {"errors": [{"resource": "RefreshToken", "field": TOKEN, "code": "invalid"}]},
    {"status": TOKEN.upper(), "message": TOKEN},
    {"errors": [TOKEN]},
    {"code": TOKEN[:9]},
    {"code": "x", "message": TOKEN},
]


@pytest.mark.parametrize("body", ECHOES, ids=str)
def test_no_text_repeats_a_secret_of_the_request(body: Any) -> None:
    told = read_refusal(json.dumps(body).encode(), hide=[TOKEN, TOKEN.upper()])
    assert told is not None
    assert TOKEN[:9] not in f"{told.code} {told.description}".lower()


@pytest.mark.parametrize(
    "text", ["Zk3xF9Qm2LbT7vW1sYc8", "1234567", "a1b2c3", "x" * 65, "ya29.a0AfH6", "two words", ""]
)
def test_a_word_that_may_be_a_token_that_we_never_sent_is_not_repeated_either(text: str) -> None:
    assert error_answer({"error": text or None, "code": text}, ()).code == "unrecognised"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@given(
    body=st.dictionaries(
        st.sampled_from(["error", "errors", "code", "status", "type", "ok", "object", "message", "resource", "field"]),
        json_values | st.just(TOKEN) | st.just([{"code": TOKEN}]),
    )
)
def test_any_members_have_a_short_clean_word_and_none_is_the_secret(body: dict[str, Any]) -> None:
    told = error_answer(body, [TOKEN])
    assert 0 < len(told.code) <= 64
    assert told.code.isascii()
    assert told.code.isprintable()
    assert TOKEN not in told.code + told.description
