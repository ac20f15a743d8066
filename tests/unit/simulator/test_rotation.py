"""The six rotation profiles, row by row of docs/explanation/authorization-servers.md."""

import pytest

from tests.unit.simulator.desk import Desk

ROTATING = ["on_use", "grace:30", "immediate", "family"]


@pytest.mark.parametrize("profile", ["none", *ROTATING])
def test_a_refresh_answers_a_pair_that_works(profile: str) -> None:
    desk = Desk(profile)
    fresh = desk.refresh(desk.mint())
    assert desk.use(fresh) == 200
    assert desk.refreshes(fresh)


def test_at_on_use_the_same_refresh_token_twice_makes_two_living_pairs() -> None:
    desk = Desk("on_use")
    old = desk.mint()
    first, second = desk.refresh(old), desk.refresh(old)
    assert desk.refreshes(first)
    assert desk.refreshes(second)
    assert desk.refreshes(old)


def test_at_on_use_the_first_use_of_a_new_access_token_kills_the_old_pair() -> None:
    desk = Desk("on_use")
    old = desk.mint()
    fresh = desk.refresh(old)
    assert desk.opens(old)
    assert desk.use(fresh) == 200
    assert not desk.opens(old)
    assert desk.try_refresh(old).status == 400


def test_at_on_use_a_lost_answer_is_repaired_by_the_old_token() -> None:
    desk = Desk("on_use")
    old = desk.mint()
    desk.lose_refresh(old)
    assert desk.lost() == []
    assert desk.refreshes(desk.refresh(old))


def test_at_on_use_only_the_direct_predecessor_dies_by_a_use() -> None:
    desk = Desk("on_use")
    chain = [desk.mint()]
    for _ in range(3):
        chain.append(desk.refresh(chain[-1]))
    desk.use(chain[3])
    assert [desk.refreshes(each) for each in chain] == [True, True, False, True]


def test_at_on_use_an_expired_access_token_still_kills_its_predecessor() -> None:
    desk = Desk("on_use")
    old = desk.mint()
    fresh = desk.refresh(old)
    desk.pass_time(7201)
    assert desk.use(fresh) == 401
    assert not desk.refreshes(old)


def test_at_on_use_a_revoked_access_token_still_kills_its_predecessor() -> None:
    desk = Desk("on_use")
    old = desk.mint()
    fresh = desk.refresh(old)
    desk.revoke(fresh.refresh)
    assert desk.refreshes(old)
    assert desk.use(fresh) == 401
    assert not desk.refreshes(old)


def test_at_on_use_token_info_counts_as_the_first_use() -> None:
    desk = Desk("on_use")
    old = desk.mint()
    fresh = desk.refresh(old)
    assert desk.ask("token_info", bearer=fresh.access).status == 200
    assert not desk.refreshes(old)


def test_at_immediate_the_second_refresh_is_refused_and_the_first_pair_is_fine() -> None:
    desk = Desk("immediate")
    old = desk.mint()
    fresh = desk.refresh(old)
    assert desk.try_refresh(old).status == 400
    assert desk.use(fresh) == 200
    assert desk.refreshes(fresh)


def test_at_immediate_the_old_access_token_dies_with_the_refresh() -> None:
    desk = Desk("immediate")
    old = desk.mint()
    desk.refresh(old)
    assert desk.use(old) == 401


@pytest.mark.parametrize("profile", ["immediate", "family"])
def test_a_lost_answer_loses_the_grant_and_names_the_request(profile: str) -> None:
    desk = Desk(profile)
    old = desk.mint()
    desk.lose_refresh(old)
    assert desk.try_refresh(old).status == 400
    (grant,) = desk.lost()
    assert grant.lost_request == 1
    assert grant.lost_why == "request 1: lost on the wire"


def test_at_family_a_reuse_kills_the_winner_too() -> None:
    desk = Desk("family")
    old = desk.mint()
    winner = desk.refresh(old)
    assert desk.try_refresh(old).status == 400
    assert desk.use(winner) == 401
    assert desk.try_refresh(winner).status == 400
    (grant,) = desk.lost()
    assert grant.lost_request == 2
    assert "used again" in grant.lost_why


def test_at_family_a_reuse_by_another_client_kills_nothing() -> None:
    desk = Desk("family")
    old = desk.mint()
    winner = desk.refresh(old)
    foreign = {"client_id": "other", "client_secret": "other-secret"}
    assert desk.try_refresh(old, **foreign).status == 400
    assert desk.use(winner) == 200


@pytest.mark.parametrize("lives", [True, False])
def test_at_family_the_old_access_token_lives_on_or_dies_as_the_habit_says(*, lives: bool) -> None:
    desk = Desk("family", old_access_token_lives=lives)
    old = desk.mint()
    desk.refresh(old)
    assert desk.use(old) == (200 if lives else 401)


def test_in_its_grace_an_old_token_makes_another_living_pair() -> None:
    desk = Desk("grace:30")
    old = desk.mint()
    first = desk.refresh(old)
    desk.pass_time(29)
    second = desk.refresh(old)
    assert desk.refreshes(first)
    assert desk.refreshes(second)


def test_a_repeat_does_not_prolong_the_grace() -> None:
    desk = Desk("grace:30", reuse_ends_family=False)
    old = desk.mint()
    desk.refresh(old)
    desk.pass_time(29)
    desk.refresh(old)
    desk.pass_time(2)
    assert not desk.refreshes(old)


@pytest.mark.parametrize("ends", [True, False])
def test_after_the_grace_a_reuse_ends_the_family_or_is_only_refused(*, ends: bool) -> None:
    desk = Desk("grace:30", reuse_ends_family=ends)
    old = desk.mint()
    fresh = desk.refresh(old)
    desk.pass_time(31)
    assert desk.try_refresh(old).status == 400
    assert desk.refreshes(fresh) is not ends


def test_an_answer_lost_at_grace_is_no_loss_before_the_grace_is_over() -> None:
    desk = Desk("grace:30")
    old = desk.mint()
    desk.lose_refresh(old)
    desk.pass_time(29)
    assert desk.lost() == []
    desk.pass_time(2)
    assert len(desk.lost()) == 1


def test_an_answer_repeated_within_the_grace_saves_the_grant_for_good() -> None:
    desk = Desk("grace:30")
    old = desk.mint()
    desk.lose_refresh(old)
    desk.refresh(old)
    desk.pass_time(1000)
    assert desk.lost() == []


def test_at_none_the_refresh_token_stays_and_no_repeat_counts_as_reuse() -> None:
    desk = Desk("none")
    old = desk.mint()
    for _ in range(3):
        assert "refresh_token" not in desk.try_refresh(old).body
    assert desk.refreshes(old)
    assert desk.use(old) == 200
    assert desk.provider.ledger.tokens_used_twice == 0


def test_at_none_the_answer_may_repeat_the_refresh_token() -> None:
    desk = Desk("none", repeats_refresh_token=True)
    old = desk.mint()
    assert desk.try_refresh(old).body["refresh_token"] == old.refresh


@pytest.mark.parametrize("profile", ROTATING)
def test_every_reuse_of_a_spent_refresh_token_is_counted(profile: str) -> None:
    desk = Desk(profile)
    old = desk.mint()
    desk.refresh(old)
    desk.try_refresh(old)
    desk.try_refresh(old)
    ledger = desk.provider.ledger
    assert ledger.tokens_used_twice == 1
    assert ledger.reused_accepted + ledger.reused_refused == 2
