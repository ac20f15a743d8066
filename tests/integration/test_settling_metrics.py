"""What a worker counts when it settles, by client and outcome, and never by ref."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from tasks.oauth.answer import Answer, Response
from tasks.runtime.meters import LATENESS, LIFE_LEFT, REFRESHES, Lengths
from tests.harness import (
    GATEWAY,
    HELD_BACK,
    INVALID_CLIENT,
    INVALID_GRANT,
    LOST,
    TOO_MANY,
    UNREACHABLE,
    Harness,
    token_set,
)

# Whatever a provider calls its error: it becomes no label.
ODD = Response(400, {}, b'{"error": "customer_42_owes_us"}')


def since_now(client: str) -> Callable[[], dict[str, int]]:
    """What is counted from now on, by outcome."""
    before = REFRESHES.read()

    def read() -> dict[str, int]:
        now = REFRESHES.read()
        grown = {key: count - before.get(key, 0) for key, count in now.items() if key[0] == client}
        return {outcome: count for (_, outcome), count in grown.items() if count}

    return read


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (token_set("2"), "refreshed"),
        (GATEWAY, "unknown"),
        (LOST, "unknown"),
        (TOO_MANY, "not_now"),
        (UNREACHABLE, "not_sent"),
        (HELD_BACK, "held_back"),
        (INVALID_CLIENT, "misconfigured"),
        (ODD, "misconfigured"),
        (INVALID_GRANT, "refused"),
    ],
)
def test_a_refresh_is_counted_once_by_what_it_meant(harness: Harness, answer: Answer, outcome: str) -> None:
    client = harness.client()
    harness.run("update evergrant.valves set credentials_proven_no = 1")
    harness.grant(client)
    counted = since_now("demo")
    harness.ask(client, answer)
    assert counted() == {outcome: 1}


def sums(meter: Lengths) -> tuple[int, float]:
    series = meter.read().get(("demo",))
    return (0, 0.0) if series is None else (sum(series.counts), series.total)


def test_of_a_grant_kept_warm_it_counts_how_late_it_was_and_what_was_left(harness: Harness) -> None:
    client = harness.client()
    left, late = sums(LIFE_LEFT), sums(LATENESS)
    grant = harness.grant(client, access_left=timedelta(minutes=20))
    harness.ask(client, token_set("2"))
    assert sums(LIFE_LEFT)[0] == left[0] + 1
    assert sums(LIFE_LEFT)[1] - left[1] == pytest.approx(20 * 60, abs=10)
    # Of a life of two hours 20 minutes are left: it was due between 68 and 92 minutes after it began, 100 are over.
    assert sums(LATENESS)[0] == late[0] + 1
    assert 8 * 60 - 10 < sums(LATENESS)[1] - late[1] < 32 * 60 + 10
    left, late = sums(LIFE_LEFT), sums(LATENESS)
    harness.later(minutes=5)
    harness.run("select evergrant.request_refresh('customer')")
    harness.ask(client, token_set("3"))  # requested, so not late
    assert (sums(LIFE_LEFT)[0], sums(LATENESS)[0]) == (left[0] + 1, late[0])
    harness.set(grant, keep="on-demand")
    harness.later(minutes=5)
    harness.run("select evergrant.request_refresh('customer')")
    harness.ask(client, token_set("4"))
    assert (sums(LIFE_LEFT)[0], sums(LATENESS)[0]) == (left[0] + 1, late[0])
