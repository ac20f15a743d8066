"""Who is asked once more after a verdict."""

import pytest

from tasks.policy.second_look import LOOKS, first_look


@pytest.mark.parametrize(
    ("rotation", "reason", "is_asked"),
    [
        *[(rotation, "response_lost", True) for rotation in ("none", "on_use", "until_next_refresh", "grace")],
        *[(rotation, "response_lost", False) for rotation in ("immediate", "family")],
        *[(rotation, "revoked_or_expired", True) for rotation in ("none", "grace", "immediate", "family")],
        ("family", "admin_policy", True),
    ],
)
def test_it_is_asked_where_that_kills_nothing(rotation: str, reason: str, *, is_asked: bool) -> None:
    assert (first_look(reason, rotation) is not None) == is_asked


def test_it_is_asked_ever_more_seldom() -> None:
    assert list(LOOKS) == sorted(LOOKS)
    assert first_look("revoked_or_expired", "none") == LOOKS[0]
