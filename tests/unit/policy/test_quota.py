"""How many requests are left, as a provider says, and how much slower we go then."""

from datetime import UTC, datetime, timedelta

import pytest

from tasks.policy import quota
from tasks.policy.valve import Valve, interval

HEADER = "X-Api-Request-Remaining"
AT = datetime(2026, 11, 28, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("57", 57),
        (" 57 ", 57),
        ("57;w=60", 57),
        ("57.9", 57),
        ("-3", 0),
        ("999999999999", 2**31 - 1),
        ("", None),
        ("many", None),
    ],
)
def test_whatever_a_header_says_it_is_a_number_or_nothing(text: str, left: int | None) -> None:
    assert quota.left({"x-api-request-remaining": text}, HEADER) == left


def test_without_a_name_for_it_nothing_is_read() -> None:
    assert quota.left({"x-api-request-remaining": "1"}, None) is None
    assert quota.left({}, HEADER) is None


@pytest.mark.parametrize(("remaining", "scarce"), [(0, True), (10, True), (11, False)])
def test_few_are_those_that_the_file_calls_few_for_a_minute_at_most(remaining: int, scarce: bool) -> None:
    assert quota.scarce_for(remaining, least=10) == (timedelta(minutes=1) if scarce else None)


def test_a_client_goes_at_half_its_rate() -> None:
    valve = Valve(rate_per_minute=100, burst=20, next_slot_at=AT, slot_no=0)

    assert interval(quota.at_share(valve, 0.5)) == 2 * interval(valve)


@pytest.mark.parametrize(("burst", "half"), [(2000, 1000), (3, 2), (1, 1)])
def test_without_a_rate_half_as_many_may_be_under_way(burst: int, half: int) -> None:
    valve = Valve(rate_per_minute=None, burst=burst, next_slot_at=AT, slot_no=0)

    assert quota.at_share(valve, 0.5).burst == half
