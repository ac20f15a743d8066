"""How many introspections of a client may be asked, and when it rests."""

from datetime import timedelta

import pytest

from tasks.runtime import clock
from tasks.runtime.introspections import IN_VAIN, MOST, REST, Introspections


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> list[timedelta]:
    now = [timedelta(hours=1)]
    monkeypatch.setattr(clock, "boot", lambda: now[0])
    return now


def ended(introspections: Introspections, *, told: bool, times: int = 1) -> None:
    for _ in range(times):
        assert introspections.begin(1, 1) == 1
        introspections.end(1, told=told)


def test_a_server_that_tells_nothing_three_times_running_rests_for_a_minute(at: list[timedelta]) -> None:
    introspections = Introspections()
    ended(introspections, told=False, times=IN_VAIN)
    assert introspections.begin(1, 5) == 0
    assert introspections.begin(2, 5) == 5
    at[0] += REST
    ended(introspections, told=False)  # one more, and it rests anew
    assert introspections.begin(1, 5) == 0


def test_one_that_told_something_since_does_not_rest(at: list[timedelta]) -> None:
    introspections = Introspections()
    ended(introspections, told=False, times=IN_VAIN - 1)
    ended(introspections, told=True)
    ended(introspections, told=False, times=IN_VAIN - 1)
    assert introspections.begin(1, 5) == 5


def test_what_was_on_its_way_makes_a_rest_no_longer(at: list[timedelta]) -> None:
    introspections = Introspections()
    assert introspections.begin(1, 100) == 100
    for _ in range(100):
        introspections.end(1, told=False)
        at[0] += timedelta(milliseconds=10)
    at[0] += REST - timedelta(milliseconds=900)
    assert introspections.begin(1, 1) == 1


def test_no_client_has_more_under_way_than_there_is_room(at: list[timedelta]) -> None:
    introspections = Introspections()
    assert introspections.begin(1, MOST + 7) == MOST
    assert introspections.begin(1, 1) == 0
    assert introspections.begin(2, 1) == 1
    introspections.give_back(1, 3)
    introspections.end(1, told=True)
    assert introspections.begin(1, 7) == 4
