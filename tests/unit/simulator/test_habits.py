"""Habits by name."""

import pytest

from simulator.habits import Profile, changed, habits_for


def test_a_profile_carries_its_seconds() -> None:
    habits = habits_for("grace:45")
    assert (habits.profile, habits.grace_seconds) == (Profile.GRACE, 45)


def test_a_dialect_can_be_changed_in_one_quirk() -> None:
    habits = habits_for("family", "oidc", json_bodies=True)
    assert habits.json_bodies
    assert not habits.created_at


@pytest.mark.parametrize("profile", ["grace:soon", "immediate:5", "sometimes", ""])
def test_an_unknown_profile_is_a_value_error(profile: str) -> None:
    with pytest.raises(ValueError, match=r"profile|float"):
        habits_for(profile)


def test_an_unknown_dialect_or_quirk_is_told_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="there are doorkeeper, event-temple, atlassian, github, oidc"):
        habits_for(dialect="keycloak")
    with pytest.raises(ValueError, match="no habit named colour"):
        changed(habits_for(), colour="red")


@pytest.mark.parametrize("answer", ["invalid_grant", "x03 unauthorized_client", "999 no", ""])
def test_a_dead_tokens_answer_is_a_status_and_an_error(answer: str) -> None:
    with pytest.raises(ValueError, match="a status and an error"):
        habits_for(says_dead=answer)
