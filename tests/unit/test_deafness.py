"""A worker that takes nothing up while work waits ends itself after 90 seconds, and no other does."""

from collections.abc import Callable
from datetime import timedelta

from tasks.heartbeat import BEAT, DEAF, UNSTARTED, Deafness

LEASE = timedelta(seconds=30)  # of a claim that nobody starts: then it is made anew
START = timedelta(hours=1)

Waits = Callable[[timedelta], bool]


def deaf_after(waits: Waits, *, consumes: bool = False, lasting: timedelta = timedelta(minutes=5)) -> timedelta | None:
    """When a worker that looks at every beat finds itself deaf; `waits`: whether a claim is unstarted by then."""
    deafness = Deafness()
    for number in range(lasting // BEAT):
        after = number * BEAT
        consumed_at = START + after if consumes else START
        if deafness.take(unstarted=waits(after), consumed_at=consumed_at, at=START + after):
            return after
    return None


def made_anew(after: timedelta) -> bool:
    return after % LEASE >= UNSTARTED


def test_who_takes_nothing_up_is_deaf_although_the_claim_is_made_anew_meanwhile() -> None:
    assert deaf_after(made_anew) == UNSTARTED + DEAF


def test_who_takes_up_is_not_deaf_whatever_waits() -> None:
    assert deaf_after(made_anew, consumes=True) is None


def test_who_has_nothing_to_take_up_is_not_deaf() -> None:
    assert deaf_after(lambda _: False) is None


def test_one_claim_that_waited_and_was_taken_up_elsewhere_ends_nobody() -> None:
    assert deaf_after(lambda after: after % timedelta(minutes=1) == UNSTARTED) is None


def test_it_is_told_once_and_counted_anew() -> None:
    deafness, looks = Deafness(), range(2 * DEAF // BEAT + 2)
    found = [deafness.take(unstarted=True, consumed_at=START, at=START + number * BEAT) for number in looks]
    assert found.count(True) == 2
