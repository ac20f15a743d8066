"""What proves that a provider has changed, what does not, and what becomes of the profile."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.oauth.rotation import Rotation
from tasks.policy.drift import (
    FORCES,
    STRICTNESS,
    TOLD,
    Answered,
    Drift,
    Finding,
    Habit,
    Others,
    Seen,
    Sighting,
    Watch,
    family_killed,
    finding,
    gather,
    is_news,
    seen_in,
    spent_refused_at,
    strictest,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
A, B, C, D = (UUID(int=n) for n in range(4))
ON_USE = Habit(Rotation.ON_USE)
PLAIN = Answered(
    grant_id=A,
    started_at=NOW,
    is_own=True,
    rotated=True,
    suspect_at=None,
    doubt_since=None,
    spent_refused_at=None,
    life_before=2 * HOUR,
    life=2 * HOUR,
    is_watched=False,
)
LATE = PLAIN._replace(suspect_at=NOW + MINUTE, doubt_since=NOW)
LIVING = PLAIN._replace(spent_refused_at=NOW - MINUTE)
rotations = pytest.mark.parametrize("rotation", Rotation)


def seen(now: Answered, habit: Habit) -> list[Seen]:
    return [each.seen for each in seen_in(now, habit)]


@rotations
def test_an_answer_as_any_shows_nothing(rotation: Rotation) -> None:
    rotates = rotation is not Rotation.NONE
    assert seen_in(PLAIN._replace(rotated=rotates), Habit(rotation)) == []


# ── a token that was refused, and what came of it late ──────────────────────────────────────────────────────────


@pytest.mark.parametrize("rotation", [Rotation.ON_USE, Rotation.UNTIL_NEXT_REFRESH, Rotation.IMMEDIATE])
def test_a_set_that_came_when_its_token_had_been_refused_is_watched(rotation: Rotation) -> None:
    assert spent_refused_at(LATE, Habit(rotation)) == NOW + MINUTE
    assert seen_in(LATE, Habit(rotation)) == []


@pytest.mark.parametrize(
    "other",
    [
        LATE._replace(suspect_at=None),
        LATE._replace(is_own=False),  # of another generation, of another token, or settled once before
        LATE._replace(rotated=False),  # the very token that was refused works: the refusal was none
        LATE._replace(suspect_at=NOW - MINUTE),  # it was refused, and was sent and accepted after that
    ],
)
def test_what_tells_nothing_of_a_spent_token_is_not_watched(other: Answered) -> None:
    assert spent_refused_at(other, ON_USE) is None


@pytest.mark.parametrize(("refused_after", "watched"), [(29, True), (30, False), (31, False)])
def test_at_grace_a_refusal_counts_before_the_grace_of_the_first_use_is_over(refused_after: int, watched: bool) -> None:
    late = LATE._replace(started_at=NOW + 5 * SECOND, suspect_at=NOW + refused_after * SECOND)
    grace = Habit(Rotation.GRACE, grace=30 * SECOND)
    assert (spent_refused_at(late, grace) is not None) is watched


def test_at_until_next_refresh_a_refusal_counts_while_the_token_may_live() -> None:
    habit = Habit(Rotation.UNTIL_NEXT_REFRESH, until_next=timedelta(days=30))
    assert spent_refused_at(LATE, habit) is not None
    assert spent_refused_at(LATE._replace(suspect_at=NOW + timedelta(days=30)), habit) is None


@pytest.mark.parametrize("rotation", [Rotation.ON_USE, Rotation.UNTIL_NEXT_REFRESH, Rotation.GRACE])
def test_that_its_successor_works_afterwards_proves_an_early_death(rotation: Rotation) -> None:
    assert seen(LIVING, Habit(rotation)) == [Seen.EARLY_DEATH]


@pytest.mark.parametrize("rotation", [Rotation.IMMEDIATE, Rotation.FAMILY])
def test_where_it_dies_at_once_a_successor_that_lives_is_as_was_said(rotation: Rotation) -> None:
    assert seen(LIVING, Habit(rotation)) == [Seen.WINNER_LIVED]


def test_a_success_that_was_begun_before_the_refusal_proves_nothing() -> None:
    assert seen(LIVING._replace(spent_refused_at=NOW + MINUTE), ON_USE) == []
    assert seen(LIVING._replace(is_own=False), ON_USE) == []


# ── refresh tokens that stay, and that do not ───────────────────────────────────────────────────────────────────


def test_another_refresh_token_where_they_stay_is_seen_unless_the_file_says_so() -> None:
    assert seen(PLAIN, Habit(Rotation.NONE)) == [Seen.ROTATES]
    assert seen(PLAIN, Habit(Rotation.NONE, reissues=True)) == []


@pytest.mark.parametrize("rotation", [each for each in Rotation if each is not Rotation.NONE])
def test_no_new_refresh_token_where_they_rotate_is_seen_unless_answers_repeat_themselves(rotation: Rotation) -> None:
    same = PLAIN._replace(rotated=False)
    assert seen(same, Habit(rotation)) == [Seen.NO_NEW_REFRESH_TOKEN]
    assert seen(same, Habit(rotation, repeats_tokens=True)) == []


# ── lives ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("before", "after", "shorter"),
    [
        (2 * HOUR, HOUR, True),
        (2 * HOUR, 61 * MINUTE, False),
        (None, MINUTE, False),  # it came with an import
        (2 * HOUR, None, False),  # the answer does not say
        (timedelta(days=365), HOUR, False),  # what was said before was nonsense, and clamped
    ],
)
def test_half_the_life_of_before_is_shorter(before: timedelta | None, after: timedelta | None, shorter: bool) -> None:
    now = PLAIN._replace(life_before=before, life=after)
    assert seen(now, ON_USE) == ([Seen.SHORTER_LIFE] if shorter else [])
    assert seen(now, ON_USE._replace(repeats_tokens=True)) == []


def _shorter(*grants: UUID) -> list[Sighting]:
    return [Sighting(Seen.SHORTER_LIFE, each, 7200, 900) for each in grants]


def test_a_shorter_life_is_proven_by_three_grants_in_a_row() -> None:
    watch, found = gather(Watch(), _shorter(A, A, B), Rotation.ON_USE)
    assert (watch, found) == (Watch(shorter=(A, B)), [])
    assert gather(watch, _shorter(C), Rotation.ON_USE) == (Watch(), [Finding(Drift.SHORTER_LIFE, C, 7200, 900)])
    assert gather(watch, [Sighting(Seen.LIFE_AS_BEFORE, D)], Rotation.ON_USE) == (Watch(), [])


def test_a_life_as_before_is_seen_only_where_somebody_asks() -> None:
    assert seen(PLAIN._replace(is_watched=True), ON_USE) == [Seen.LIFE_AS_BEFORE]


# ── families ────────────────────────────────────────────────────────────────────────────────────────────────────

DIED = [Sighting(Seen.WINNER_DIED, each) for each in (A, B, C)]
WELL = Others(died=0, refreshed=10)


def test_one_winner_that_died_proves_nothing_and_three_do_where_nobody_else_dies() -> None:
    watch, found = gather(Watch(), DIED[:2], Rotation.IMMEDIATE)
    assert (found, family_killed(watch, Rotation.IMMEDIATE, WELL)) == ([], [])
    watch, _ = gather(watch, [*DIED[:2], DIED[2]], Rotation.IMMEDIATE)
    assert family_killed(watch, Rotation.IMMEDIATE, WELL) == [Finding(Drift.FAMILY_KILLED, C, "immediate", "family")]


@pytest.mark.parametrize("others", [Others(0, 9), Others(1, 99), Others(3, 110)])
def test_where_others_die_too_or_nobody_else_was_asked_no_family_was_killed(others: Others) -> None:
    assert family_killed(Watch(killed=(A, B, C)), Rotation.IMMEDIATE, others) == []


@pytest.mark.parametrize("lived", [Seen.WINNER_LIVED, Seen.EARLY_DEATH])
def test_a_winner_that_lived_takes_back_those_that_died(lived: Seen) -> None:
    watch, _ = gather(Watch(killed=(A, B)), [Sighting(lived, C)], Rotation.ON_USE)
    assert watch.killed == ()


# ── what becomes of the profile ─────────────────────────────────────────────────────────────────────────────────


@given(st.sampled_from(Drift), st.sampled_from(Rotation))
def test_a_profile_is_only_ever_tightened(what: Drift, rotation: Rotation) -> None:
    to = strictest([finding(what, A, rotation)])
    assert to is None or STRICTNESS[to] > STRICTNESS[rotation]


def test_of_several_the_strictest_is_taken() -> None:
    both = [finding(Drift.EARLY_DEATH, A, Rotation.NONE), finding(Drift.ROTATES, A, Rotation.NONE)]
    assert strictest(both) is Rotation.FAMILY
    assert strictest([Finding(Drift.SHORTER_LIFE, A, 7200, 900)]) is None


def test_a_contradiction_is_news_once_and_again_when_it_says_something_else() -> None:
    shorter = Finding(Drift.SHORTER_LIFE, A, 7200, 900)
    assert is_news(None, shorter)
    assert not is_news({"shorter_life": {"to": 900}}, shorter)
    assert is_news({"shorter_life": {"to": 3600}}, shorter)


def test_what_is_watched_survives_its_column() -> None:
    watch = Watch(shorter=(A, B), killed=(C,))
    assert Watch.of(watch.row()) == watch
    assert (Watch.of(None), Watch().row()) == (Watch(), None)


def test_every_kind_is_told_in_words_and_every_profile_has_its_place() -> None:
    assert TOLD.keys() == set(Drift)
    assert STRICTNESS.keys() == set(Rotation)
    assert set(FORCES) < set(Drift)
