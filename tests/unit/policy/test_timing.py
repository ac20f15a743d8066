"""When a grant is due, how long a token set lives, and how long a failing one waits."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.policy.timing import back_off, due_at, due_on_demand, life, quarter_of, release_wait, stable_jitter

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DEFAULT = timedelta(hours=1)
YEAR = timedelta(days=365)
lives = st.timedeltas(timedelta(seconds=1), YEAR)


LIVES = {
    "absent: the provider's default": (None, DEFAULT),
    "zero": (0, timedelta(seconds=60)),
    "negative": (-7200, timedelta(seconds=60)),
    "absurdly negative": (-1e18, timedelta(seconds=60)),
    "less than a second": (0.9999, timedelta(seconds=60)),
    "so little that it would round to nothing": (1e-9, timedelta(seconds=60)),
    "one second": (1, timedelta(seconds=1)),
    "ten seconds work": (10, timedelta(seconds=10)),
    "fractions of seconds": (7199.5, timedelta(seconds=7199.5)),
    "two hours": (7200, timedelta(hours=2)),
    "a year": (31_536_000, YEAR),
    "over a year": (31_536_001, YEAR),
    "absurd": (10**18, YEAR),
    "infinite": (float("inf"), YEAR),
}


@pytest.mark.parametrize(("expires_in", "expected"), LIVES.values(), ids=LIVES)
def test_a_life_is_what_the_provider_says_within_reason(expires_in: float | None, expected: timedelta) -> None:
    assert life(expires_in, default=DEFAULT) == expected


@given(st.none() | st.floats(allow_nan=False) | st.integers(-(10**30), 10**30))
def test_whatever_the_provider_says_a_life_is_between_a_second_and_a_year(expires_in: float | None) -> None:
    assert timedelta(seconds=1) <= life(expires_in, default=DEFAULT) <= YEAR


@given(st.uuids(), lives)
def test_a_grant_is_due_at_two_thirds_of_its_life_give_or_take_a_tenth(grant_id: UUID, lifetime: timedelta) -> None:
    share = (due_at(NOW, lifetime, grant_id) - NOW) / lifetime

    assert 2 / 3 - 0.1 - 1e-5 <= share <= 2 / 3 + 0.1 + 1e-5


@given(st.uuids(), lives)
def test_the_jitter_of_a_grant_is_the_same_every_time(grant_id: UUID, lifetime: timedelta) -> None:
    later = NOW + timedelta(days=400)

    assert due_at(NOW, lifetime, grant_id) - NOW == due_at(later, lifetime, UUID(str(grant_id))) - later


def test_ten_thousand_grants_that_were_connected_at_once_are_spread_evenly() -> None:
    jitters = sorted(stable_jitter(uuid4()) for _ in range(10_000))

    assert jitters[0] >= -1
    assert jitters[-1] < 1
    # A tenth of them in each tenth of the range: 1000 ± 8 standard deviations of 30.
    tenths = [sum(-1 + n / 5 <= jitter < -1 + (n + 1) / 5 for jitter in jitters) for n in range(10)]
    assert all(760 < count < 1240 for count in tenths)


def test_a_default_life_of_two_hours_leaves_a_margin_of_at_least_28_minutes() -> None:
    hours = timedelta(hours=2)

    assert all(hours - (due_at(NOW, hours, uuid4()) - NOW) > timedelta(minutes=27.9) for _ in range(1000))


@given(st.uuids())
def test_a_grant_on_demand_is_due_at_its_rest_give_or_take_a_tenth(grant_id: UUID) -> None:
    wait = due_on_demand(NOW, timedelta(days=7), grant_id) - NOW

    assert timedelta(days=6.3) <= wait <= timedelta(days=7.7)
    assert wait == due_on_demand(NOW, timedelta(days=7), grant_id) - NOW


# ── waits ───────────────────────────────────────────────────────────────────────────────────────────────────────

FIVE, CAP = timedelta(seconds=5), timedelta(minutes=5)


def ordinary(failures: int, chance: float) -> timedelta:
    return back_off(failures, first=FIVE, cap=CAP, chance=chance)


def test_the_first_values_in_the_docstring_of_the_back_off_are_true() -> None:
    told = re.findall(r"([\d.]+)-(\d+) s", back_off.__doc__ or "")

    assert len(told) == 7
    assert [(float(least), float(most)) for least, most in told] == [
        (ordinary(n, 0).total_seconds(), ordinary(n, 1).total_seconds()) for n in range(1, 8)
    ]
    assert ordinary(8, 1) == ordinary(7, 1) == CAP


@given(st.integers(-5, 10**9), st.floats(0, 1))
def test_the_back_off_grows_up_to_its_cap_and_is_never_less_than_half_the_first_wait(
    failures: int, chance: float
) -> None:
    wait = ordinary(failures, chance)

    assert FIVE / 2 <= wait <= CAP
    assert ordinary(failures + 1, chance) >= wait


def test_two_grants_that_fail_together_do_not_come_back_together() -> None:
    assert ordinary(3, 0.1) != ordinary(3, 0.9)


@pytest.mark.parametrize(("chance", "seconds"), [(0, 5), (0.5, 10), (1, 15)])
def test_a_job_that_was_given_back_waits_five_to_fifteen_seconds(chance: float, seconds: float) -> None:
    assert release_wait(chance) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("lifetime", "minutes"),
    [(None, 10), (timedelta(hours=2), 10), (timedelta(minutes=40), 10), (timedelta(minutes=20), 5)],
)
def test_a_suspect_waits_ten_minutes_or_a_quarter_of_a_shorter_life(lifetime: timedelta | None, minutes: float) -> None:
    assert quarter_of(lifetime, at_most=timedelta(minutes=10)) == timedelta(minutes=minutes)
