"""What a receiver's answer means, and how long one waits."""

from datetime import UTC, datetime, timedelta

import pytest

from tasks.oauth.answer import Answer, HeldBack, NotSent, Response, Silence
from tasks.policy.telling import WAITS, told, wait

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_two_hundred_and_something_is_delivered(status: int) -> None:
    found = told(Response(status), tries=3, wall_clock=NOW)
    assert (found.delivered, found.http_status, found.strikes) == (True, status, False)


@pytest.mark.parametrize(
    ("answer", "code", "strikes_first", "strikes_again"),
    [
        (Response(301), "http_301", True, False),
        (Response(400), "http_400", True, False),
        (Response(500), "http_500", True, False),
        (Silence("timeout"), "timeout", True, True),
        (Silence("too_large", 200), "too_large", True, True),
        (NotSent("connect_refused"), "connect_refused", True, True),
        (NotSent("host_private"), "host_private", True, True),
        (HeldBack("stopping"), "stopping", False, False),
    ],
)
def test_an_event_that_is_refused_again_tells_of_itself_and_not_of_its_webhook(
    answer: Answer, code: str, strikes_first: bool, strikes_again: bool
) -> None:
    first, again = (told(answer, tries=tries, wall_clock=NOW) for tries in (1, 2))
    assert (first.delivered, first.code, first.strikes, again.strikes) == (False, code, strikes_first, strikes_again)


def test_a_receiver_may_ask_for_time_and_gets_five_minutes_at_most() -> None:
    def hold(status: int, value: str) -> timedelta | None:
        return told(Response(status, {"retry-after": value}), tries=1, wall_clock=NOW).hold

    assert hold(429, "7") == 7 * SECOND
    assert hold(503, "Thu, 26 Nov 2026 12:01:00 GMT") == 60 * SECOND
    assert hold(429, "86400") == 300 * SECOND
    assert (hold(500, "7"), hold(429, "soon")) == (None, None)


def test_gone_is_gone_and_nothing_else_is() -> None:
    assert [told(Response(status), tries=1, wall_clock=NOW).is_gone for status in (404, 410, 500)] == [
        *(False, True, False),
    ]


def test_waits_grow_and_differ_by_a_tenth_either_way() -> None:
    assert [wait(tries, chance=0.5) for tries in range(1, len(WAITS) + 1)] == list(WAITS) == sorted(WAITS)
    assert wait(1000, chance=0.5) == WAITS[-1]
    assert (wait(1, chance=0), wait(1, chance=1)) == (0.9 * SECOND, 1.1 * SECOND)
