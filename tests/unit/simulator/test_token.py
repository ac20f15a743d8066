"""POST /oauth/token as Doorkeeper answers it: order of checks, texts, statuses, members."""

import pytest

from simulator.answers import TEXTS
from tests.unit.simulator.desk import CREDENTIALS, FOREIGN, Desk

WRONG = {"client_secret": "wrong"}


def test_a_refresh_answers_doorkeepers_members_in_its_order() -> None:
    desk = Desk()
    body = desk.try_refresh(desk.mint()).body
    assert list(body) == ["access_token", "token_type", "expires_in", "refresh_token", "scope", "created_at"]
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 7200
    assert body["created_at"] == 1_000_000
    assert body["scope"] == "crm_read crm_manage"


def test_a_wrong_secret_is_401_invalid_client_and_the_token_is_untouched() -> None:
    desk = Desk()
    old = desk.mint()
    answer = desk.try_refresh(old, **WRONG)
    assert (answer.status, desk.error(answer)) == (401, "invalid_client")
    assert answer.body["error_description"] == TEXTS["invalid_client"]
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="Doorkeeper", error="invalid_client"')
    assert desk.pair(old).spent == 0


def test_a_wrong_secret_with_a_dead_token_is_invalid_grant() -> None:
    desk = Desk("immediate")
    old = desk.mint()
    desk.refresh(old)
    answer = desk.try_refresh(old, **WRONG)
    assert (answer.status, desk.error(answer)) == (400, "invalid_grant")


def test_no_client_credentials_is_400_invalid_grant() -> None:
    desk = Desk()
    old = desk.mint()
    answer = desk.ask("token", {"grant_type": "refresh_token", "refresh_token": old.refresh})
    assert (answer.status, desk.error(answer)) == (400, "invalid_grant")
    assert desk.refreshes(old)


def test_another_clients_credentials_are_400_invalid_grant_and_the_token_is_untouched() -> None:
    desk = Desk()
    old = desk.mint()
    answer = desk.try_refresh(old, **FOREIGN)
    assert (answer.status, desk.error(answer)) == (400, "invalid_grant")
    assert desk.pair(old).spent == 0


@pytest.mark.parametrize(
    ("dialect", "status", "code"),
    [
        ("doorkeeper", 400, "invalid_grant"),
        ("atlassian", 403, "unauthorized_client"),
        ("github", 200, "bad_refresh_token"),
    ],
)
def test_each_dialect_refuses_a_dead_or_unknown_refresh_token_in_its_own_words(
    dialect: str, status: int, code: str
) -> None:
    desk = Desk("immediate", dialect)
    old = desk.mint()
    desk.refresh(old)
    for answer in (desk.try_refresh(old), desk.token(grant_type="refresh_token", refresh_token="unknown")):
        assert (answer.status, desk.error(answer)) == (status, code)


def test_the_text_of_invalid_grant_is_the_same_whatever_the_cause() -> None:
    desk = Desk("immediate")
    old = desk.mint()
    foreign = desk.try_refresh(old, **FOREIGN)
    desk.refresh(old)
    dead = desk.try_refresh(old)
    unknown = desk.token(grant_type="refresh_token", refresh_token="never issued")
    assert foreign.body == dead.body == unknown.body


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({}, "grant_type"),
        ({"grant_type": "refresh_token"}, "refresh_token"),
        ({"grant_type": "authorization_code"}, "code"),
        ({"grant_type": "authorization_code", "code": "x"}, "redirect_uri"),
    ],
)
def test_a_missing_parameter_is_named(params: dict[str, str], name: str) -> None:
    answer = Desk().token(**params)
    assert (answer.status, Desk.error(answer)) == (400, "invalid_request")
    assert answer.body["error_description"] == f"Missing required parameter: {name}."


def test_an_unknown_grant_type_is_unsupported() -> None:
    answer = Desk().token(grant_type="password")
    assert (answer.status, Desk.error(answer)) == (400, "unsupported_grant_type")


def test_a_scope_never_granted_consumes_nothing_and_tells_alive_dead_or_wrong_secret() -> None:
    desk = Desk("immediate")
    old = desk.mint()
    probe = {"scope": "never_granted"}
    assert desk.error(desk.try_refresh(old, **probe)) == "invalid_scope"
    assert desk.error(desk.try_refresh(old, **probe, **WRONG)) == "invalid_client"
    assert desk.pair(old).spent == 0
    desk.refresh(old)
    assert desk.error(desk.try_refresh(old, **probe)) == "invalid_grant"


def test_a_server_that_tests_the_scope_first_says_alive_of_a_consumed_token() -> None:
    desk = Desk("family", "oidc")
    old = desk.mint()
    desk.refresh(old)
    assert desk.error(desk.try_refresh(old, scope="never_granted")) == "invalid_scope"


def test_a_narrower_scope_on_refresh_narrows_it_for_ever() -> None:
    desk = Desk("immediate")
    answer = desk.try_refresh(desk.mint(), scope="crm_read")
    assert answer.body["scope"] == "crm_read"
    again = desk.token(grant_type="refresh_token", refresh_token=answer.body["refresh_token"])
    assert again.body["scope"] == "crm_read"
    wide = desk.token(
        grant_type="refresh_token", refresh_token=again.body["refresh_token"], scope="crm_read crm_manage"
    )
    assert Desk.error(wide) == "invalid_scope"


def test_a_comma_joined_scope_on_refresh_is_refused() -> None:
    desk = Desk()
    assert desk.error(desk.try_refresh(desk.mint(), scope="crm_read,crm_manage")) == "invalid_scope"


def test_a_changed_lifetime_never_reaches_old_grants() -> None:
    desk = Desk("immediate")
    old = desk.mint()
    desk.provider.lifetime_seconds = 60
    assert desk.try_refresh(old).body["expires_in"] == 7200
    assert desk.try_refresh(desk.mint("customer-2")).body["expires_in"] == 60


def test_expires_in_is_absent_for_tokens_that_do_not_expire() -> None:
    desk = Desk()
    desk.provider.lifetime_seconds = None
    assert "expires_in" not in desk.try_refresh(desk.mint()).body


def test_basic_and_body_credentials_are_accepted_by_one_and_refused_by_the_other() -> None:
    for dialect, status in (("doorkeeper", 200), ("oidc", 400)):
        desk = Desk("immediate", dialect)
        params = {**CREDENTIALS, "grant_type": "refresh_token", "refresh_token": desk.mint().refresh}
        assert desk.ask("token", params, basic=("acme", "acme-secret")).status == status


def test_basic_credentials_alone_are_enough() -> None:
    desk = Desk()
    params = {"grant_type": "refresh_token", "refresh_token": desk.mint().refresh}
    assert desk.ask("token", params, basic=("acme", "acme-secret")).status == 200


def test_a_strict_server_looks_at_the_client_before_the_token() -> None:
    desk = Desk("family", "oidc")
    nobody = desk.ask("token", {"grant_type": "refresh_token", "refresh_token": "unknown"})
    wrong = desk.token(grant_type="refresh_token", refresh_token="unknown", **WRONG)
    assert (nobody.status, desk.error(nobody)) == (400, "invalid_request")
    assert (wrong.status, desk.error(wrong)) == (401, "invalid_client")


def test_an_oidc_answer_holds_no_created_at() -> None:
    desk = Desk("family", "oidc")
    assert "created_at" not in desk.try_refresh(desk.mint()).body


def test_event_temple_answers_scopes_in_an_order_of_its_own() -> None:
    desk = Desk("on_use", "event-temple")
    assert desk.try_refresh(desk.mint()).body["scope"] == "crm_manage crm_read"


def test_after_a_rotation_of_the_secret_only_the_new_one_is_good() -> None:
    desk = Desk("immediate")
    old = desk.mint()
    desk.provider.clients["acme"].secret = "second-secret"
    assert desk.try_refresh(old).status == 401
    assert desk.try_refresh(old, client_secret="second-secret").status == 200


def test_the_same_seed_and_the_same_calls_give_the_same_tokens() -> None:
    first, second = Desk(), Desk()
    assert first.refresh(first.mint()) == second.refresh(second.mint())


def test_where_answers_tell_no_life_introspection_tells_an_access_tokens_end_and_no_refresh_tokens() -> None:
    desk = Desk(life_member="")
    tokens = desk.mint()
    assert "expires_in" not in desk.try_refresh(tokens).body
    access = desk.ask("introspect", {**CREDENTIALS, "token": tokens.access}).body
    assert (access["active"], access["exp"]) == (True, int(desk.now + 7200))
    assert "exp" not in desk.ask("introspect", {**CREDENTIALS, "token": tokens.refresh}).body


def test_what_never_expires_has_no_end_to_tell() -> None:
    desk = Desk(life_member="")
    desk.provider.change_life(None)
    answer = desk.ask("introspect", {**CREDENTIALS, "token": desk.mint().access})
    assert (answer.status, answer.body["active"], "exp" in answer.body) == (200, True, False)
