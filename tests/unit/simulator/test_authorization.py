"""Authorize, code and exchange."""

import hashlib
from base64 import urlsafe_b64encode

import pytest

from simulator.endpoints import authorization
from simulator.endpoints.authorization import AuthorizationRequest, Refusal
from tests.unit.simulator.desk import CALLBACK, Desk

VERIFIER = "v" * 43
CHALLENGE = urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
PKCE = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}


def test_a_code_becomes_a_pair_of_the_user_who_allowed_it() -> None:
    desk = Desk()
    answer = desk.exchange(desk.allow("bob", scope="crm_manage"))
    assert answer.status == 200
    assert answer.body["scope"] == "crm_manage"
    assert desk.grant("bob").client_id == "acme"


def test_a_code_used_twice_is_400_and_the_first_pair_lives() -> None:
    desk = Desk()
    code = desk.allow()
    first = desk.exchange(code)
    second = desk.exchange(code)
    assert (second.status, desk.error(second)) == (400, "invalid_grant")
    assert desk.ask("api", bearer=first.body["access_token"], org="org-1").status == 200


def test_an_oidc_server_kills_the_first_pair_when_a_code_is_used_twice() -> None:
    desk = Desk("family", "oidc")
    code = desk.allow()
    first = desk.exchange(code)
    desk.exchange(code)
    assert desk.ask("api", bearer=first.body["access_token"], org="org-1").status == 401


def test_a_code_is_good_for_ten_minutes() -> None:
    desk = Desk()
    code = desk.allow()
    desk.pass_time(601)
    assert desk.error(desk.exchange(code)) == "invalid_grant"


def test_the_redirect_uri_must_be_exactly_the_one_of_the_authorize_request() -> None:
    desk = Desk()
    assert desk.error(desk.exchange(desk.allow(), redirect_uri=CALLBACK + "/")) == "invalid_grant"


def test_the_verifier_must_fit_the_challenge() -> None:
    desk = Desk()
    code = desk.allow(**PKCE)
    assert desk.exchange(code).body["error_description"] == "Missing required parameter: code_verifier."
    assert desk.error(desk.exchange(code, code_verifier="w" * 43)) == "invalid_grant"
    assert desk.exchange(code, code_verifier=VERIFIER).status == 200


def test_a_wrong_secret_does_not_spend_the_code() -> None:
    desk = Desk()
    code = desk.allow()
    assert desk.exchange(code, client_secret="wrong").status == 401
    assert desk.exchange(code).status == 200


def test_another_clients_code_is_refused() -> None:
    desk = Desk()
    answer = desk.exchange(desk.allow(), client_id="other", client_secret="other-secret")
    assert desk.error(answer) == "invalid_grant"


@pytest.mark.parametrize("scope", ["crm_read,crm_manage", "unknown"])
def test_doorkeeper_shows_a_page_for_a_comma_joined_or_unknown_scope_and_does_not_redirect(scope: str) -> None:
    refusal = Desk().authorize(scope=scope)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.redirect_to) == ("invalid_scope", "")


def test_event_temple_accepts_commas() -> None:
    asked = Desk("on_use", "event-temple").authorize(scope="crm_read,crm_manage")
    assert isinstance(asked, AuthorizationRequest)
    assert asked.scope == "crm_read crm_manage"


def test_an_oidc_server_redirects_with_the_error() -> None:
    refusal = Desk("family", "oidc").authorize(scope="unknown", state="s1")
    assert isinstance(refusal, Refusal)
    assert refusal.redirect_to.startswith(f"{CALLBACK}?error=invalid_scope")
    assert refusal.redirect_to.endswith("state=s1")


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"client_id": ""}, "invalid_request"),
        ({"client_id": "nobody"}, "invalid_client"),
        ({"redirect_uri": CALLBACK + "?x=1"}, "invalid_redirect_uri"),
        ({"response_type": ""}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge": "x", "code_challenge_method": "S512"}, "invalid_code_challenge_method"),
    ],
)
def test_a_malformed_authorize_request_is_told_on_a_page(params: dict[str, str], code: str) -> None:
    refusal = Desk().authorize(**params)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.redirect_to) == (code, "")


def test_a_denial_goes_back_with_the_state() -> None:
    asked = Desk().authorize(state="s1")
    assert isinstance(asked, AuthorizationRequest)
    url = authorization.deny(asked)
    assert url.startswith(f"{CALLBACK}?error=access_denied")
    assert url.endswith("state=s1")


def test_a_second_consent_is_a_second_grant() -> None:
    desk = Desk()
    first, second = desk.exchange(desk.allow()), desk.exchange(desk.allow())
    assert first.body["refresh_token"] != second.body["refresh_token"]
    assert len(desk.provider.ledger.by_ref["bob"]) == 2


def test_with_reuse_access_token_a_second_consent_gets_the_same_pair_created_in_the_past() -> None:
    desk = Desk(reuse_access_token=True)
    first = desk.exchange(desk.allow()).body
    desk.pass_time(100)
    second = desk.exchange(desk.allow()).body
    assert second["refresh_token"] == first["refresh_token"]
    assert second["created_at"] == first["created_at"]
    assert second["expires_in"] == 7100
