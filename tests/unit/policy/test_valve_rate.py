"""The rate of a valve: never more in any minute, and hardly less while there is a backlog."""

from bisect import bisect_right
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from math import ceil
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.policy.valve import Valve, budget, interval, take, take_canary

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
GRANT = UUID(int=1)


def valve(rate: float | None, *, burst: int = 10**6) -> Valve:
    return Valve(rate_per_minute=rate, burst=burst, next_slot_at=NOW, slot_no=0)


def taken(limited: Valve, waits: list[float], *, most: int = 500) -> list[tuple[datetime, int]]:
    """What leaves at ticks after these waits (seconds), while more is due than may leave."""
    at, left = NOW, []
    for wait in waits:
        at += timedelta(seconds=wait)
        count = budget(limited, at=at, under_way=0, most=most).count
        limited = take(limited, at=at, count=count)
        left.append((at, count))
    return left


def most_in_a_minute(left: list[tuple[datetime, int]]) -> int:
    """The most that left in any window of 60 s, its end excluded."""
    times = [at for at, _ in left]
    sums = [0, *accumulate(count for _, count in left)]
    ends = [bisect_right(times, at + MINUTE - timedelta(microseconds=1)) for at in times]
    return max(sums[end] - sums[start] for start, end in enumerate(ends))


rates = st.integers(1, 100_000) | st.floats(0.01, 100_000)
schedules = st.lists(
    st.floats(0, 2) | st.floats(0, 120) | st.sampled_from([0, 0.05, 1, 60, 61]), min_size=1, max_size=150
)


@given(rate=rates, waits=schedules)
@example(rate=100, waits=[0.05] * 3000)
@example(rate=1, waits=[0.5] * 300)
@example(rate=29, waits=[0.25] * 600)
def test_in_no_minute_more_leaves_than_the_rate_allows(rate: float, waits: list[float]) -> None:
    """Whatever the ticks: late, early, in bunches. Of 2.5 a minute a single minute may see three."""
    assert most_in_a_minute(taken(valve(rate), waits)) <= ceil(rate)


@given(rate=rates, waits=st.lists(st.floats(0, 30), min_size=1, max_size=150), share=st.floats(0, 1))
def test_canaries_are_no_exception(rate: float, waits: list[float], share: float) -> None:
    limited, at, left = valve(rate), NOW, []
    for n, wait in enumerate(waits):
        at += timedelta(seconds=wait)
        if n % 7 < 7 * share:
            limited = replace(limited, paused_until=at)
        allowed = budget(limited, at=at, under_way=0, most=500)
        limited = (
            take_canary(limited, at=at, grant_id=GRANT) if allowed.canary else take(limited, at=at, count=allowed.count)
        )
        left.append((at, allowed.count))

    assert most_in_a_minute(left) <= ceil(rate)


@given(rate=st.floats(10, 20_000), waits=st.lists(st.floats(0.05, 1), min_size=1, max_size=8))
@example(rate=100, waits=[1.0])
@example(rate=100, waits=[0.63])
@example(rate=6000, waits=[1.0])
def test_with_a_backlog_hardly_less_leaves_than_the_rate_allows(rate: float, waits: list[float]) -> None:
    """Beat looks once a second at least."""
    cycle = waits * ceil(180 / sum(waits))
    left = taken(valve(rate), cycle, most=10**6)
    minutes = (left[-1][0] - left[0][0]) / MINUTE

    assert sum(count for _, count in left) >= 0.9 * rate * minutes


def test_event_temples_hundred_a_minute_is_used_and_never_exceeded() -> None:
    left = taken(valve(100, burst=20), [0.64] * 3000)

    assert most_in_a_minute(left) in range(95, 101)
    assert max(count for _, count in left) == 2


def test_a_client_that_was_idle_for_hours_has_saved_nothing_up() -> None:
    idle = valve(60)

    assert budget(idle, at=NOW + timedelta(hours=5), under_way=0, most=500).count == 1


def test_an_exchange_that_was_debited_leaves_less_for_the_others() -> None:
    debited = take(valve(100), at=NOW, count=50)

    assert budget(debited, at=NOW + timedelta(seconds=30), under_way=0, most=500).count == 0
    assert budget(debited, at=NOW + timedelta(seconds=32), under_way=0, most=500).count == 2


@given(
    rate=st.floats(min_value=0, exclude_min=True, allow_infinity=False),
    at=st.timedeltas(timedelta(0), timedelta(days=400)),
)
@example(rate=5e-324, at=timedelta(0))
@example(rate=1.7e308, at=timedelta(days=400))
def test_no_rate_however_absurd_breaks_the_beat_for_the_others(rate: float, at: timedelta) -> None:
    absurd = valve(rate)
    count = budget(absurd, at=NOW + at, under_way=0, most=500).count

    assert interval(absurd) > timedelta(0)
    assert take(absurd, at=NOW + at, count=count).next_slot_at >= NOW + at


@pytest.mark.parametrize("under_way", [0, 20])
def test_without_a_rate_only_the_burst_counts(under_way: int) -> None:
    assert budget(valve(None, burst=20), at=NOW, under_way=under_way, most=500).count == 20 - under_way
    assert interval(valve(None)) == timedelta(0)
