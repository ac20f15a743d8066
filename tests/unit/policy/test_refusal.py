"""Whose fault a refusal is that nobody understands: a witness tells."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tasks.policy.refusal import Refusals, is_hopeless, is_its_own, wait

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TEN_MINUTES = timedelta(minutes=10)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FIRST = Refusals(before=0, since=None, witnessed=False, all_refused=False, proven=True)
AGAIN = Refusals(before=1, since=NOW - TEN_MINUTES, witnessed=True, all_refused=False, proven=True)


def test_a_first_refusal_is_the_grants_own_where_the_client_works() -> None:
    assert is_its_own(FIRST)


@pytest.mark.parametrize("known", [replace(FIRST, all_refused=True), replace(FIRST, proven=False)])
def test_a_first_refusal_is_not_its_own_where_others_are_refused_or_nobody_ever_succeeded(known: Refusals) -> None:
    assert not is_its_own(known)


def test_a_later_refusal_is_its_own_only_with_a_witness() -> None:
    assert is_its_own(AGAIN)
    assert not is_its_own(replace(AGAIN, witnessed=False))


def asked_again(life: timedelta, times: int) -> list[timedelta]:
    """The waits after so many refusals, each when it was due."""
    waits: list[timedelta] = []
    for before in range(times):
        since = None if before == 0 else NOW - sum(waits, timedelta())
        waits.append(wait(replace(AGAIN, before=before, since=since), life, at=NOW, at_most=TEN_MINUTES))
    return waits


def test_it_is_asked_as_a_suspect_is_and_from_the_third_refusal_on_hourly() -> None:
    assert asked_again(timedelta(hours=2), 5) == [TEN_MINUTES, TEN_MINUTES, HOUR, HOUR, HOUR]


def test_with_a_short_life_it_is_asked_ever_more_seldom_for_ten_minutes_and_then_hourly() -> None:
    minutes = [round(each / timedelta(minutes=1), 2) for each in asked_again(timedelta(minutes=5), 7)]
    assert minutes == [1.25, 1.25, 2.5, 5.0, 60.0, 60.0, 60.0]


def test_it_is_hopeless_after_a_day_alone() -> None:
    assert is_hopeless(replace(AGAIN, since=NOW - DAY), at=NOW, horizon=DAY)
    assert not is_hopeless(replace(AGAIN, since=NOW - DAY + TEN_MINUTES), at=NOW, horizon=DAY)
    assert not is_hopeless(replace(AGAIN, since=NOW - DAY, witnessed=False), at=NOW, horizon=DAY)
    assert not is_hopeless(FIRST, at=NOW, horizon=DAY)
