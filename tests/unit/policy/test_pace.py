"""Pace: a client that is throttled in words that nobody understands goes slower; one whose users leave does not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.policy.pace import FULL, Pace, allowed, feed
from tasks.policy.valve import TOLERANCE, Budget, Result, Sign, Valve, budget, interval, take

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
WORD = "slow_down"
PASSES = replace(FULL, passing_code=WORD, passing_at=NOW)


def refused(at: datetime, code: str = WORD, *, was_well: bool = True) -> Result:
    return Result(UUID(int=1), at, Sign.REFUSED, code, was_well=was_well)


def refreshed(at: datetime, *, recovered_from: str | None = None) -> Result:
    return Result(UUID(int=2), at, Sign.GOOD, "refreshed", refreshed=True, recovered_from=recovered_from)


def minutes(
    pace: Pace,
    *shares: tuple[int, int],
    first: int = 0,
    rate: float | None = None,
    word: str = WORD,
    was_well: bool = True,
) -> Pace:
    """Let minutes go by, each with so many who are refused and so many who succeed, all at its beginning."""
    others_succeed = False
    for n, (bad, good) in enumerate(shares, first):
        at = NOW + n * MINUTE
        ended = [*[refused(at, word, was_well=was_well)] * bad, *[refreshed(at)] * good]
        pace = feed(pace, ended, at=at, rate=rate, witness_at=at - MINUTE / 2 if others_succeed else None)
        others_succeed = good > 0
    at = NOW + (first + len(shares)) * MINUTE
    return feed(pace, [], at=at, rate=rate, witness_at=at - MINUTE / 2 if others_succeed else None)


def test_more_than_a_fifth_of_a_minute_refused_alike_halves_what_a_client_without_a_rate_did() -> None:
    assert allowed(minutes(FULL, (21, 79))) == 50
    assert allowed(minutes(FULL, (20, 80))) is None


def test_a_client_with_a_rate_goes_at_half_of_it() -> None:
    assert allowed(minutes(FULL, (21, 79), rate=600)) == 300


def test_it_is_halved_again_each_minute_it_goes_on_down_to_one_a_minute_and_doubled_each_minute_it_does_not() -> None:
    pace, seen = PASSES, []
    for n in range(20):
        pace = minutes(pace, (3, 2) if n < 10 else (0, 5), first=n, rate=64)
        seen.append(allowed(pace))
    assert seen[:10] == [32, 16, 8, 4, 2, 1, 1, 1, 1, 1]
    assert seen[10:] == [2, 4, 8, 16, 32, None, None, None, None, None]


def test_a_minute_with_fewer_such_refusals_leaves_it_as_it_is() -> None:
    pace = minutes(PASSES, (30, 70), rate=100)
    assert allowed(minutes(pace, (1, 40), first=1, rate=100)) == 50


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("nobody succeeds: then it may be ours, and the breaker decides", {"shares": [(9, 0)]}),
        ("two are not many", {"shares": [(2, 1)]}),
        ("who was refused before tells nothing new", {"shares": [(50, 50)], "was_well": False}),
    ],
)
def test_other_refusals_slow_nobody(what: str, told: dict[str, object]) -> None:
    shares = told.pop("shares")
    assert allowed(minutes(FULL, *shares, **told)) is None, what  # type: ignore[misc,arg-type]


def test_refusals_in_different_words_are_not_alike() -> None:
    words = [refused(NOW, f"word-{n}") for n in range(30)]
    pace = feed(FULL, [*words, *[refreshed(NOW)] * 30], at=NOW, rate=None, witness_at=NOW)
    assert allowed(feed(pace, [refreshed(NOW)], at=NOW + MINUTE, rate=None, witness_at=NOW)) is None


def test_a_word_that_was_heard_once_does_not_hide_the_one_that_follows() -> None:
    pace = feed(FULL, [refused(NOW, "oddity")], at=NOW, rate=None, witness_at=None)
    assert allowed(minutes(pace, (30, 70))) == 50.5


def test_of_those_who_have_died_nobody_is_ever_refreshed_so_their_word_costs_one_minute_at_half_the_pace() -> None:
    pace, seen = FULL, []
    for n in range(10):
        pace = minutes(pace, (30, 70), first=n, rate=100)
        seen.append(allowed(pace))
    assert seen == [50] + [None] * 9


def test_an_unknown_word_that_half_the_pace_has_silenced_may_slow_it_again() -> None:
    pace = minutes(FULL, (30, 70), (0, 50), rate=100)
    assert allowed(pace) is None
    assert allowed(minutes(pace, (30, 70), first=2, rate=100)) == 50


def test_a_word_passes_once_one_who_was_refused_so_is_refreshed_and_then_it_slows_for_as_long_as_it_lasts() -> None:
    pace = minutes(FULL, (30, 70), (30, 70), rate=100)
    assert allowed(pace) is None
    pace = feed(pace, [refreshed(NOW, recovered_from=WORD)], at=NOW + 2 * MINUTE, rate=100, witness_at=None)
    assert allowed(minutes(pace, (30, 70), (30, 70), first=3, rate=100)) == 25


def test_that_another_word_passes_says_nothing_of_this_one() -> None:
    pace = replace(FULL, passing_code="another", passing_at=NOW)
    assert allowed(minutes(pace, (30, 70), (30, 70), rate=100)) is None


def test_a_day_later_nothing_is_known_of_a_word_any_more() -> None:
    tried = minutes(FULL, (30, 70), (30, 70), rate=100)
    day = 24 * 60 + 5
    assert allowed(minutes(tried, (30, 70), first=day, rate=100)) == 50
    assert allowed(minutes(PASSES, (30, 70), (30, 70), first=day, rate=100)) is None


def test_while_nothing_is_asked_as_behind_a_shut_valve_the_pace_stays_as_it_is() -> None:
    pace = minutes(PASSES, (30, 70), (30, 70), rate=100)
    later = feed(pace, [refreshed(NOW)], at=NOW + timedelta(minutes=90), rate=100, witness_at=None)
    assert allowed(pace) == 25
    assert allowed(later) in (25, 50)


# ── what the valve makes of it ──────────────────────────────────────────────────────────────────────────────────

OPEN = Valve(rate_per_minute=None, burst=2000, next_slot_at=NOW, slot_no=0)


@pytest.mark.parametrize("rate", [None, 600.0])
def test_at_a_slow_pace_no_more_leave_than_it_allows(rate: float | None) -> None:
    valve, left, at = replace(OPEN, rate_per_minute=rate, pace_per_minute=30.0), 0, NOW
    while at < NOW + 10 * MINUTE:
        count = budget(valve, at=at, under_way=0, most=500).count
        valve, left, at = take(valve, at=at, count=count), left + count, at + SECOND / 2
    assert 300 <= left <= 301


def test_a_pace_above_the_rate_changes_nothing() -> None:
    assert interval(replace(OPEN, rate_per_minute=60, pace_per_minute=90)) == interval(
        replace(OPEN, rate_per_minute=60)
    )


def test_without_one_a_client_without_a_rate_is_as_free_as_ever() -> None:
    assert budget(OPEN, at=NOW, under_way=0, most=500) == Budget(500)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=30), st.booleans())
def test_whatever_happens_it_is_never_slower_than_one_a_minute_nor_faster_than_half(
    shares: list[tuple[int, int]], passes: bool
) -> None:
    pace = PASSES if passes else FULL
    for n, share in enumerate(shares):
        pace = minutes(pace, share, first=n, rate=100)
        assert (allowed(pace) is None) == (pace.slowed_by == 0)
        assert 1 <= (allowed(pace) or 50) <= 50
    assert TOLERANCE == SECOND
