import base64
import json
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.oauth import messages
from tasks.oauth.error_answers import ErrorAnswer
from tasks.oauth.errors import LabelNotChosen, MissingSetting, ProbeNotAllowed
from tasks.oauth.messages import Registration, Request, TokenSet, Unreadable, read_token_answer
from tasks.oauth.provider import Provider

SECRET = "s3cr3t-of-the-client"


def provider(**fields: object) -> Provider:
    return Provider.model_validate(
        {
            "name": "example",
            "authorize_url": "https://id.example/authorize",
            "token_url": "https://id.example/token",
            "revoke_url": "https://id.example/revoke",
            "api_url": "https://api.example/v2/bookings",
            "confirm_url": "https://id.example/info",
        }
        | fields
    )


def registration(**fields: object) -> Registration:
    return Registration(provider(**fields), "our id", SECRET, "https://us.example/callback?x=1")


def members(request: Request) -> dict[str, str]:
    if request.headers["Content-Type"] == "application/json":
        found: dict[str, str] = json.loads(request.body)
        return found
    return dict(parse_qsl(request.body.decode(), strict_parsing=True))


# ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_authorize_url_asks_for_a_code_with_state_and_challenge() -> None:
    url = messages.authorize_url(registration(), state="st", code_challenge="ch", scopes=["a", "b"])

    assert url.startswith("https://id.example/authorize?")
    assert {k: v for k, [v] in parse_qs(urlsplit(url).query).items()} == {
        "response_type": "code",
        "client_id": "our id",
        "redirect_uri": "https://us.example/callback?x=1",
        "state": "st",
        "scope": "a b",
        "code_challenge": "ch",
        "code_challenge_method": "S256",
    }


def test_scopes_are_joined_as_the_provider_wants_them_and_commas_stay_readable() -> None:
    url = messages.authorize_url(
        registration(scopes=["crm_read", "crm_manage"], scope_separator=","), state="st", code_challenge=None
    )

    assert "scope=crm_read,crm_manage" in url


def test_the_query_of_an_authorize_url_is_kept_and_further_parameters_are_added() -> None:
    ours = registration(authorize_url="https://id.example/a?tenant=7", authorize_parameters={"access_type": "offline"})

    query = parse_qs(urlsplit(messages.authorize_url(ours, state="st", code_challenge=None)).query)

    assert (query["tenant"], query["access_type"]) == (["7"], ["offline"])
    assert "scope" not in query


def test_no_challenge_and_no_verifier_is_sent_where_the_provider_wants_none() -> None:
    ours = registration(pkce=False)

    assert "challenge" not in messages.authorize_url(ours, state="st", code_challenge="ch")
    assert "code_verifier" not in members(messages.exchange(ours, code="c", code_verifier="v"))


def test_the_challenge_is_the_one_of_rfc_7636_appendix_b() -> None:
    entropy = bytes.fromhex("7418dfb49799e0254ffa607dd8adbbba16d4254d69d6bff05b58055853848d79")

    assert messages.code_verifier(entropy) == "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert messages.code_challenge(messages.code_verifier(entropy)) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


@pytest.mark.parametrize("body", ["json", "form"])
def test_an_exchange_sends_code_and_redirect_uri_with_the_credentials(body: str) -> None:
    request = messages.exchange(registration(body=body), code="c&d", code_verifier="v")

    assert (request.method, request.url) == ("POST", "https://id.example/token")
    assert members(request) == {
        "grant_type": "authorization_code",
        "code": "c&d",
        "redirect_uri": "https://us.example/callback?x=1",
        "code_verifier": "v",
        "client_id": "our id",
        "client_secret": SECRET,
    }


@pytest.mark.parametrize("body", ["json", "form"])
def test_a_refresh_sends_no_scope(body: str) -> None:
    request = messages.refresh(registration(body=body, scopes=["a"]), refresh_token="r+/=")

    assert members(request) == {
        "grant_type": "refresh_token",
        "refresh_token": "r+/=",
        "client_id": "our id",
        "client_secret": SECRET,
    }


def test_with_basic_the_credentials_are_encoded_in_the_header_alone() -> None:
    ours = Registration(provider(auth="basic"), "id:1", "a+b/c=")

    request = messages.refresh(ours, refresh_token="r")

    assert base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")) == b"id%3A1:a%2Bb%2Fc%3D"
    assert members(request) == {"grant_type": "refresh_token", "refresh_token": "r"}


def test_basic_credentials_can_be_sent_as_they_are() -> None:
    ours = Registration(provider(auth="basic", basic_encoded=False), "id", "a+b/c=")

    header = messages.refresh(ours, refresh_token="r").headers["Authorization"]

    assert base64.b64decode(header.removeprefix("Basic ")) == b"id:a+b/c="


@pytest.mark.parametrize("body", ["json", "form"])
@pytest.mark.parametrize("auth", ["body", "basic"])
def test_a_probe_is_a_refresh_with_a_scope_that_was_never_granted(auth: str, body: str) -> None:
    ours = registration(probe=True, auth=auth, body=body)
    refresh, probe = (ask(ours, refresh_token="r+/=") for ask in (messages.refresh, messages.probe))

    assert members(probe) == {**members(refresh), "scope": "evergrant_never_granted"}
    assert (probe.method, probe.url, probe.headers) == (refresh.method, refresh.url, refresh.headers)


def test_a_probe_is_refused_where_it_may_consume_the_token() -> None:
    with pytest.raises(ProbeNotAllowed, match="probe = true"):
        messages.probe(registration(), refresh_token="r")


@pytest.mark.parametrize(("wants", "sent"), [(True, "refresh_token"), (False, None)])
def test_a_revocation_sends_the_hint_only_where_it_is_wanted(wants: bool, sent: str | None) -> None:
    request = messages.revoke(registration(revoke_hint=wants), token="t", hint="refresh_token")

    assert request.url == "https://id.example/revoke"
    assert members(request).get("token_type_hint") == sent
    assert members(request)["token"] == "t"


def test_api_calls_carry_the_bearer_token_and_the_headers_made_from_labels() -> None:
    habits = provider(headers={"X-API-ORG": "{org}", "X-Region": "eu-{region}"})

    request = messages.api_call(habits, access_token="a", labels={"org": ["77"]})

    assert (request.method, request.url, request.body) == ("GET", "https://api.example/v2/bookings", b"")
    assert request.headers["Authorization"] == "Bearer a"
    assert request.headers["X-API-ORG"] == "77"
    assert "X-Region" not in request.headers
    assert messages.confirm(habits, access_token="a").url == "https://id.example/info"


def test_a_label_with_several_values_must_be_chosen() -> None:
    with pytest.raises(LabelNotChosen, match=r"org.*north, south"):
        messages.api_headers(provider(headers={"X-API-ORG": "{org}"}), {"org": ["north", "south"]})


def test_a_chosen_value_must_be_one_that_the_grant_has() -> None:
    habits = provider(headers={"X-API-ORG": "{org}"})
    labels = {"org": ["north", "south"], "region": ["eu"]}

    assert messages.api_headers(habits, labels, {"org": "south"}) == {"X-API-ORG": "south"}
    assert messages.api_headers(habits, {"org": []}) == {}
    assert messages.labels_in_headers(habits) == {"org"}
    for held, chosen in ((labels, "west"), ({"org": ["north"]}, "south"), ({}, "south")):
        with pytest.raises(LabelNotChosen):
            messages.api_headers(habits, held, {"org": chosen})


def test_an_address_that_nobody_set_is_named_with_its_remedy() -> None:
    nowhere = Registration(Provider(name="generic"), "id", SECRET)

    with pytest.raises(MissingSetting, match="--token-url"):
        messages.refresh(nowhere, refresh_token="r")
    with pytest.raises(MissingSetting, match="--redirect-uri"):
        messages.authorize_url(nowhere, state="s", code_challenge=None)


def test_no_repr_shows_a_secret() -> None:
    ours = registration(auth="basic")
    made = [ours, messages.refresh(ours, refresh_token="the-refresh-token"), TokenSet("the-access-token", "the-other")]

    assert not any(word in repr(made) for word in (SECRET, "the-refresh-token", "the-access-token", "the-other"))


# ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────────

DOORKEEPER = (
    b'{"access_token":"a","token_type":"Bearer","expires_in":7200,"refresh_token":"r",'
    b'"scope":"crm_manage crm_read","created_at":1700000000}'
)

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
    "absurd": (b'{"access_token":"a","expires_in":1e400}', TokenSet("a", expires_in=messages.SECONDS_LIMIT)),
    "longer than any int": (
        b'{"access_token":"a","expires_in":' + b"9" * 9000 + b"}",
        TokenSet("a", expires_in=messages.SECONDS_LIMIT),
    ),
    "not a number": (b'{"access_token":"a","expires_in":NaN}', TokenSet("a")),
    "no number at all": (b'{"access_token":"a","expires_in":[1]}', TokenSet("a")),
    "true is no number": (b'{"access_token":"a","expires_in":true}', TokenSet("a")),
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
    "a refresh token that could not be sent back": (b'{"access_token":"a","refresh_token":5}', "bad_token"),
}


@pytest.mark.parametrize(("body", "reason"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_is_neither_is_unreadable(body: bytes, reason: str) -> None:
    assert read_token_answer(body) == Unreadable(reason)


def test_a_description_repeats_no_secret() -> None:
    token = "Zk3xF9Qm2LbT7vW1sYc8"  # a token that we never sent
    body = {"error": "invalid_grant", "error_description": f"refresh_token {token} or pw for {SECRET} is dead"}

    answer = read_token_answer(json.dumps(body).encode(), hide=["pw", SECRET, ""])

    assert answer == ErrorAnswer("invalid_grant", "refresh_token … or … for … is dead")


@pytest.mark.parametrize("code", ["Zk3xF9Qm2LbT7vW1sYc8", "onlyletters", "x" * 51])
def test_an_error_code_that_may_be_a_secret_is_not_repeated(code: str) -> None:
    answer = read_token_answer(json.dumps({"error": code}).encode(), hide=["onlyletters"])

    assert answer == ErrorAnswer("unrecognised")


def test_a_long_description_is_cut() -> None:
    answer = read_token_answer(json.dumps({"error": "x", "error_description": "word " * 1000}).encode())

    assert isinstance(answer, ErrorAnswer)
    assert len(answer.description) == 200


def test_scopes_are_compared_without_their_order() -> None:
    assert messages.scope_set("crm_read,crm_manage") == messages.scope_set("crm_manage  crm_read")
    assert messages.scope_set(None) == messages.scope_set("") == frozenset()


SENDABLE = st.text() | st.binary().map(repr) | st.none() | st.booleans() | st.integers() | st.floats()
JSON = st.recursive(SENDABLE, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
NAMES = st.sampled_from(
    ["access_token", "refresh_token", "expires_in", "scope", "token_type", "error", "error_description"]
)


def holds_what_it_promises(answer: object) -> bool:
    match answer:
        case TokenSet(expires_in=seconds):
            texts = [answer.access_token, answer.refresh_token or "", answer.scope or "", answer.token_type]
            finite = seconds is None or abs(seconds) <= messages.SECONDS_LIMIT
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
