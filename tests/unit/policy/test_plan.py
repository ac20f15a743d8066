"""What a fleet needs of its client's rate, and what becomes of one that needs too much."""

from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.policy.plan import Load, plan

TWO_HOURS = timedelta(hours=2)


def event_temple(grants: int, **more: object) -> Load:
    return Load(warm=grants, life=TWO_HOURS, rate_per_minute=100, **more)  # type: ignore[arg-type]


def test_five_thousand_grants_of_event_temple_take_62_of_its_100_requests_a_minute() -> None:
    found = plan(event_temple(5000))
    assert found.fits
    assert found.refreshes_per_minute == pytest.approx(62.5)
    assert found.share == pytest.approx(0.625)
    assert found.left_per_minute == pytest.approx(37.5)
    assert found.renewed_every == pytest.approx(TWO_HOURS * 2 / 3, rel=1e-6)
    assert (found.late_by, found.stale_share) == (timedelta(0), 0)
    assert found.outage_margin == timedelta(minutes=28)
    assert found.refresh_all is not None
    assert found.refresh_all.total_seconds() == pytest.approx(5000 / 95 * 60)


def test_only_95_per_cent_of_a_rate_are_used_so_a_fleet_that_needs_all_of_it_does_not_fit() -> None:
    assert plan(event_temple(7599)).fits
    assert not plan(event_temple(7601)).fits


def test_a_fleet_that_is_a_little_too_large_is_late_and_one_far_too_large_is_stale() -> None:
    late, stale = plan(event_temple(9000)), plan(event_temple(15_000))
    assert not late.fits
    assert late.renewed_every.total_seconds() == pytest.approx(9000 / 95 * 60)
    assert late.stale_share == 0
    assert late.outage_margin < timedelta(minutes=28) - late.late_by + timedelta(seconds=1)
    assert stale.stale_share == pytest.approx(1 - 7200 / (15_000 / 95 * 60))
    assert stale.outage_margin == timedelta(0)


def test_grants_on_demand_count_for_what_keeps_them_from_dying() -> None:
    found = plan(event_temple(0, on_demand=10_080, idle=timedelta(days=7)))
    assert found.refreshes_per_minute == pytest.approx(1)
    assert found.fits


def test_confirms_take_slots_but_wait_where_there_are_none() -> None:
    found = plan(event_temple(5000, confirms=True))
    assert found.fits
    assert found.share == pytest.approx(1.25)
    assert found.left_per_minute == 0


def test_introspections_take_slots_whatever_else_wants_them() -> None:
    assert plan(event_temple(3799, introspects=True)).fits
    late = plan(event_temple(5000, introspects=True))
    assert not late.fits
    assert late.introspections_per_minute == late.refreshes_per_minute
    assert late.share == pytest.approx(1.25)
    assert late.left_per_minute == 0
    assert late.renewed_every.total_seconds() == pytest.approx(5000 * 2 / 95 * 60)
    assert late.refresh_all is not None
    assert late.refresh_all.total_seconds() == pytest.approx(5000 * 2 / 95 * 60)


def test_without_a_rate_everything_fits() -> None:
    found = plan(Load(warm=10**9, life=TWO_HOURS, rate_per_minute=None))
    assert found.fits
    assert (found.allowed_per_minute, found.share, found.left_per_minute, found.refresh_all) == (None,) * 4


@given(
    st.integers(0, 10**8),
    st.timedeltas(timedelta(seconds=1), timedelta(days=365)),
    st.none() | st.floats(1 / 1440, 10**6),
    st.integers(0, 10**8),
)
@example(warm=0, life=timedelta(days=365), rate=1 / 1440, on_demand=29_338_236)
def test_whatever_the_numbers_it_says_something_that_holds_together(
    warm: int, life: timedelta, rate: float | None, on_demand: int
) -> None:
    found = plan(Load(warm=warm, life=life, rate_per_minute=rate, on_demand=on_demand))
    assert found.fits == (found.late_by == timedelta(0)) or found.late_by < timedelta(milliseconds=1)
    assert 0 <= found.stale_share < 1
    assert timedelta(0) <= found.outage_margin <= life
    assert found.stale_share == 0 or found.renewed_every > life
