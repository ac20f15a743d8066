"""The rate limit, and the ledger's own count of requests that does not trust it."""

from hypothesis import given
from hypothesis import strategies as st

from simulator.rate_limit import SlidingWindow
from simulator.traffic import Traffic
from tests.unit.simulator.desk import Desk

waits = st.lists(st.floats(0, 40), max_size=80)


def test_over_the_rate_429_tells_when_to_come_back() -> None:
    desk = Desk()
    desk.provider.limiter.limit = 3
    access = desk.mint().access
    for _ in range(3):
        assert desk.ask("api", bearer=access, org="org-1").status == 200
        desk.pass_time(1)
    answer = desk.ask("api", bearer=access, org="org-1")
    assert (answer.status, answer.headers["Retry-After"]) == (429, "57")
    desk.pass_time(57)
    assert desk.ask("api", bearer=access, org="org-1").status == 200


def test_every_answer_tells_limit_and_remaining() -> None:
    desk = Desk()
    desk.provider.limiter.limit = 2
    tokens = desk.mint()
    seen = [desk.revoke("unknown").headers, desk.try_refresh(tokens).headers, desk.try_refresh(tokens).headers]
    assert [each["X-Api-Request-Limit"] for each in seen] == ["2", "2", "2"]
    assert [each["X-Api-Request-Remaining"] for each in seen] == ["1", "0", "0"]


def test_a_429_consumes_nothing() -> None:
    desk = Desk("immediate")
    tokens = desk.mint()
    desk.provider.limiter.limit = 0
    assert desk.try_refresh(tokens).status == 429
    assert desk.pair(tokens).spent == 0


def test_token_requests_and_api_calls_of_one_application_share_its_rate() -> None:
    desk = Desk()
    desk.provider.limiter.limit = 1
    tokens = desk.mint()
    assert desk.use(tokens) == 200
    assert desk.try_refresh(tokens).status == 429
    assert desk.ask("revoke", {"client_id": "other", "client_secret": "other-secret"}).status == 200


@given(waits=waits, limit=st.integers(1, 10))
def test_the_window_never_lets_more_than_the_limit_through_in_any_60_seconds(waits: list[float], limit: int) -> None:
    window, now, accepted = SlidingWindow(limit), 0.0, list[float]()
    for wait in waits:
        now += wait
        if not window.take("acme", now):
            accepted.append(now)
    for end in accepted:
        assert sum(end - 60 < each <= end for each in accepted) <= limit


@given(waits=waits)
def test_the_ledgers_own_count_is_the_true_maximum(waits: list[float]) -> None:
    traffic, now, times = Traffic(), 0.0, list[float]()
    for wait in waits:
        now += wait
        times.append(now)
        traffic.arrived("token", "acme", now)
    expected = max((sum(end - 60 < each <= end for each in times) for end in times), default=0)
    assert (traffic.arrivals["acme"].most_in_window if times else 0) == expected


def test_refused_requests_count_in_the_ledger_and_visits_to_the_authorize_page_do_not() -> None:
    desk = Desk()
    desk.provider.limiter.limit = 1
    for _ in range(3):
        desk.revoke("unknown")
    desk.provider.traffic.arrived("authorize", "acme", desk.now)
    assert desk.provider.traffic.arrivals["acme"].most_in_window == 3
