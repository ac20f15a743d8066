"""POST /oauth/revoke: a 200 proves nothing."""

import pytest

from tests.unit.simulator.desk import FOREIGN, Desk


@pytest.mark.parametrize("profile", ["none", "on_use", "grace:30", "immediate", "family"])
def test_revoking_the_refresh_token_kills_both(profile: str) -> None:
    desk = Desk(profile)
    tokens = desk.mint()
    answer = desk.revoke(tokens.refresh, token_type_hint="refresh_token")
    assert (answer.status, answer.body) == (200, {})
    assert not desk.opens(tokens)
    assert not desk.refreshes(tokens)


def test_an_unknown_token_is_200_with_an_empty_object() -> None:
    answer = Desk().revoke("never issued")
    assert (answer.status, answer.body) == (200, {})


def test_at_on_use_revoking_an_unused_pair_leaves_the_old_one_alive() -> None:
    desk = Desk("on_use")
    old = desk.mint()
    fresh = desk.refresh(old)
    assert desk.revoke(fresh.refresh).status == 200
    assert desk.refreshes(old)
    assert desk.opens(old)


def test_in_a_chain_of_five_unused_pairs_revoking_two_leaves_three_alive() -> None:
    desk = Desk("on_use")
    chain = [desk.mint()]
    for _ in range(4):
        chain.append(desk.refresh(chain[-1]))
    desk.revoke(chain[4].refresh)
    desk.revoke(chain[3].refresh)
    assert [desk.refreshes(each) for each in chain] == [True, True, True, False, False]


@pytest.mark.parametrize("profile", ["immediate", "family"])
def test_where_the_old_pair_is_dead_revoking_the_new_one_leaves_nothing(profile: str) -> None:
    desk = Desk(profile, old_access_token_lives=False)
    old = desk.mint()
    fresh = desk.refresh(old)
    desk.revoke(fresh.refresh)
    assert not any(desk.opens(each) or desk.refreshes(each) for each in (old, fresh))


def test_a_family_dies_whole() -> None:
    desk = Desk("family")
    old = desk.mint()
    fresh = desk.refresh(old)
    desk.revoke(fresh.refresh)
    assert not desk.opens(old)


@pytest.mark.parametrize("profile", ["on_use", "immediate"])
def test_when_the_access_token_has_expired_200_is_answered_and_nothing_happens(profile: str) -> None:
    desk = Desk(profile)
    tokens = desk.mint()
    desk.pass_time(7201)
    answer = desk.revoke(tokens.refresh, token_type_hint="refresh_token")
    assert (answer.status, answer.body, answer.outcome) == (200, {}, "revocation_ignored")
    assert desk.refreshes(tokens)


def test_doorkeeper_5_8_1_revokes_an_expired_pair_too() -> None:
    desk = Desk("on_use", mended_revocation=True)
    tokens = desk.mint()
    desk.pass_time(7201)
    desk.revoke(tokens.refresh, token_type_hint="refresh_token")
    assert not desk.refreshes(tokens)


def test_refresh_then_revoke_both_after_expiry_leaves_the_old_refresh_token_alive() -> None:
    desk = Desk("on_use")
    old = desk.mint()
    desk.pass_time(7201)
    fresh = desk.refresh(old)
    assert desk.revoke(fresh.refresh).status == 200
    assert desk.revoke(old.refresh).status == 200
    assert desk.refreshes(old)


def test_an_access_token_with_the_hint_refresh_token_is_200_and_nothing_happens() -> None:
    desk = Desk()
    tokens = desk.mint()
    assert desk.revoke(tokens.access, token_type_hint="refresh_token").status == 200
    assert desk.opens(tokens)


def test_where_the_hint_is_only_a_hint_the_access_token_is_found() -> None:
    desk = Desk(hint_filters=False)
    tokens = desk.mint()
    desk.revoke(tokens.access, token_type_hint="refresh_token")
    assert not desk.opens(tokens)


def test_an_access_token_without_a_hint_kills_its_pair_at_doorkeeper() -> None:
    desk = Desk()
    tokens = desk.mint()
    desk.revoke(tokens.access)
    assert not desk.opens(tokens)
    assert not desk.refreshes(tokens)


def test_an_expired_access_token_revokes_nothing() -> None:
    desk = Desk()
    tokens = desk.mint()
    desk.pass_time(7201)
    assert desk.revoke(tokens.access).status == 200
    assert desk.refreshes(tokens)


def test_an_access_token_alone_dies_where_both_are_not_one_row() -> None:
    desk = Desk("family")
    tokens = desk.mint()
    desk.revoke(tokens.access)
    assert not desk.opens(tokens)
    assert desk.refreshes(tokens)


@pytest.mark.parametrize("credentials", [{"client_secret": "wrong"}, {"client_id": "", "client_secret": ""}])
def test_wrong_or_no_credentials_are_403(credentials: dict[str, str]) -> None:
    desk = Desk()
    tokens = desk.mint()
    answer = desk.revoke(tokens.refresh, **credentials)
    assert (answer.status, desk.error(answer)) == (403, "unauthorized_client")
    assert desk.refreshes(tokens)


def test_another_clients_token_is_403() -> None:
    desk = Desk()
    tokens = desk.mint()
    assert desk.revoke(tokens.refresh, **FOREIGN).status == 403
    assert desk.refreshes(tokens)


def test_an_oidc_server_answers_other_statuses_and_an_empty_body() -> None:
    desk = Desk("family", "oidc")
    tokens = desk.mint()
    assert desk.revoke(tokens.refresh, client_secret="wrong").status == 401
    assert desk.ask("revoke", {"token": tokens.refresh}).status == 400
    assert desk.revoke(tokens.refresh, **FOREIGN).status == 400
    assert desk.revoke(tokens.refresh).body is None


def test_a_revoked_grant_is_not_counted_as_lost() -> None:
    desk = Desk("immediate")
    desk.revoke(desk.mint().refresh)
    desk.mint("customer-2")
    desk.provider.end_by_user("customer-2", desk.now)
    assert desk.lost() == []
    assert [desk.grant("customer-1").revoked_by, desk.grant("customer-2").revoked_by] == ["client", "user"]
