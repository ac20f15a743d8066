"""The valve: shares, breaker and canary. Its rate is in test_valve_rate.py."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.policy import valve as policy
from tasks.policy.valve import Budget, Result, Shares, Sign, Valve, budget, feed, shares, take, take_canary

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
OPEN = Valve(rate_per_minute=None, burst=2000, next_slot_at=NOW, slot_no=0)
BAD, GOOD, NEUTRAL, NOT_NOW = Sign.BAD, Sign.GOOD, Sign.NEUTRAL, Sign.NOT_NOW


def grant(number: int) -> UUID:
    return UUID(int=number)


def result(
    sign: Sign, number: int = 1, *, at: datetime = NOW, code: str = "http_500", wait: timedelta | None = None
) -> Result:
    return Result(grant(number), at, sign, code, wait)


def fed(valve: Valve, *results: Result, at: datetime = NOW) -> Valve:
    return feed(valve, results, at=at)


def is_shut(valve: Valve) -> bool:
    return valve.paused_until is not None


def may(valve: Valve, at: datetime, *, under_way: int = 0) -> Budget:
    return budget(valve, at=at, under_way=under_way, most=500)


# ── burst and shares ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("under_way", "count"), [(0, 20), (1, 19), (19, 1), (20, 0), (500, 0)])
def test_no_more_is_under_way_than_the_burst(under_way: int, count: int) -> None:
    assert may(replace(OPEN, burst=20), NOW, under_way=under_way) == Budget(count)


def test_no_more_is_claimed_than_fits_in_one_transaction() -> None:
    assert budget(OPEN, at=NOW, under_way=0, most=500) == Budget(500)


def test_of_every_four_slots_one_is_for_revocations_one_for_the_failing_and_two_for_refresh_requests() -> None:
    assert shares(0, 4) == Shares(revocations=1, failing=1, requests=2)
    assert shares(7, 400) == Shares(revocations=100, failing=100, requests=200)


@given(st.integers(0, 2**62), st.lists(st.integers(1, 5), min_size=1, max_size=40))
def test_shares_are_kept_over_time_also_where_slots_come_one_by_one(slot_no: int, counts: list[int]) -> None:
    given_out = []
    for count in counts:
        given_out.append(shares(slot_no, count))
        slot_no += count
    total = sum(counts)

    assert sum(share.revocations + share.failing + share.requests for share in given_out) == total
    assert abs(sum(share.revocations for share in given_out) - total / 4) < 1
    assert abs(sum(share.failing for share in given_out) - total / 4) < 1


def test_each_request_of_a_revocation_is_followed_by_three_slots_of_others() -> None:
    """Were only its claim counted, one that takes four requests would leave none to others: it is its turn again."""
    claimed = take(OPEN, at=NOW, count=1, revocations=1)
    with_three_more = replace(claimed, slot_no=claimed.slot_no - 9)
    assert [shares(with_three_more.slot_no + n, 1).revocations for n in range(13)] == [0] * 12 + [1]
    assert shares(with_three_more.slot_no, 14) == Shares(revocations=1, failing=4, requests=9)


def test_what_revocations_take_while_nobody_else_is_due_need_not_all_be_made_up_for() -> None:
    alone = take(OPEN, at=NOW, count=500, revocations=500)
    assert shares(alone.slot_no, 61).revocations == 1
    assert take(alone, at=NOW, count=60).slot_no == 0


@given(st.integers(0, 2**40), st.lists(st.tuples(st.integers(1, 8), st.integers(1, 5)), min_size=60, max_size=60))
def test_revocations_take_a_quarter_of_the_slots_however_many_each_of_them_takes(
    slot_no: int, rounds: list[tuple[int, int]]
) -> None:
    """`rounds`: how many slots there are at once, and how many requests a revocation takes; somebody is always due."""
    valve, ended, asked = replace(OPEN, slot_no=slot_no), 0, 0
    for count, requests in rounds:
        revocations = shares(valve.slot_no, count).revocations
        valve = take(valve, at=NOW, count=count, revocations=revocations)
        for _ in range(revocations * (requests - 1)):
            valve = replace(valve, slot_no=take(valve, at=NOW, count=1, revocations=1).slot_no)
        ended, asked = ended + revocations * requests, asked + count + revocations * (requests - 1)
    assert ended <= asked / 4 + 15
    assert ended >= asked / 4 - 15


# ── what shuts it ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("wait", [0, 1, 30, 300])
def test_a_429_shuts_the_valve_at_once_for_as_long_as_the_provider_says(wait: int) -> None:
    valve = fed(OPEN, result(NOT_NOW, code="http_429", wait=wait * SECOND))

    assert (valve.paused_until, valve.pause_reason) == (NOW + wait * SECOND, "http_429")
    assert may(valve, NOW + wait * SECOND) == Budget(1, canary=True)
    assert wait == 0 or may(valve, NOW + wait * SECOND - timedelta(milliseconds=1)) == Budget(0)


def again(number: int, *, since: datetime = NOW - 300 * SECOND, at: datetime = NOW) -> Result:
    """A grant that was told 429 before, and is told so once more."""
    return result(NOT_NOW, number, at=at, code="http_429", wait=60 * SECOND)._replace(refused_since=since)


WITNESSED = replace(OPEN, witness_at=NOW - 100 * SECOND)


def test_a_429_that_one_grant_alone_is_told_again_shuts_nothing() -> None:
    valve = fed(WITNESSED, again(1), again(2))

    assert not is_shut(valve)
    assert (valve.minute_asked, valve.minute_bad) == (2, 0)


def test_while_it_is_shut_who_is_told_so_again_keeps_it_shut() -> None:
    shut = fed(OPEN, result(NOT_NOW, 1, code="http_429", wait=5 * SECOND))
    later = NOW + 6 * SECOND

    assert fed(shut, again(1, since=NOW, at=later), at=later).paused_until == later + 60 * SECOND


def test_a_429_that_another_grant_is_told_beside_it_shuts_at_once() -> None:
    valve = fed(WITNESSED, again(1), result(NOT_NOW, 2, code="http_429", wait=60 * SECOND))

    assert valve.paused_until == NOW + 60 * SECOND


def test_three_that_are_told_so_again_in_a_row_tell_of_the_client() -> None:
    assert is_shut(fed(WITNESSED, again(1), again(2), again(3)))
    assert not is_shut(fed(WITNESSED, again(1), again(2), result(GOOD, 9), again(3)))
    assert not is_shut(fed(WITNESSED, again(1), again(1), again(1)))


def first(number: int, *, at: datetime = NOW, alone: bool = True) -> Result:
    """A grant that is told 429 for the first time; `alone`: nobody says whose limit that is."""
    told = result(NOT_NOW, number, at=at, code="http_429", wait=60 * SECOND)
    return told._replace(may_be_its_own=alone)


def served(number: int, *, at: datetime) -> Result:
    return result(GOOD, number, at=at, code="refreshed")._replace(refreshed=True)


LATER = NOW + timedelta(milliseconds=50)
TOLD = LATER + timedelta(milliseconds=50)


def test_a_429_shuts_nothing_where_who_was_asked_later_is_served_and_nobody_else_is_told_so() -> None:
    assert not is_shut(fed(OPEN, first(1), served(2, at=LATER), at=TOLD))
    assert not is_shut(fed(replace(OPEN, witness_at=LATER), first(1), at=TOLD))


def test_nor_does_the_next_one_a_minute_later() -> None:
    valve = fed(OPEN, first(1), served(2, at=LATER), at=TOLD)
    at = NOW + 61 * SECOND

    assert not is_shut(fed(valve, first(3, at=at), served(2, at=at + SECOND), at=at + 2 * SECOND))


def test_the_second_grant_within_a_minute_tells_of_the_client() -> None:
    valve = fed(OPEN, first(1), served(2, at=LATER), at=TOLD)
    at = NOW + 30 * SECOND
    told = at + 2 * SECOND

    assert fed(valve, first(3, at=at), served(2, at=at + SECOND), at=told).paused_until == told + 60 * SECOND
    assert is_shut(fed(OPEN, first(1), first(3), served(2, at=LATER), at=TOLD))
    assert not is_shut(fed(valve, first(1, at=at), served(2, at=at + SECOND), at=told))


def test_who_was_asked_no_later_proves_nothing_of_a_limit() -> None:
    assert is_shut(fed(OPEN, first(1), served(2, at=NOW), at=TOLD))
    assert is_shut(fed(OPEN, first(1), result(NEUTRAL, 2, at=LATER), at=TOLD))


def test_a_limit_of_which_somebody_says_whose_it_is_is_believed() -> None:
    assert is_shut(fed(OPEN, first(1, alone=False), served(2, at=LATER), at=TOLD))


def test_a_429_that_names_no_wait_shuts_the_valve_for_five_seconds() -> None:
    assert fed(OPEN, result(NOT_NOW)).paused_until == NOW + 5 * SECOND


def test_three_bad_requests_in_a_row_on_different_grants_shut_the_valve() -> None:
    two = fed(OPEN, result(BAD, 1), result(BAD, 2))
    three = fed(two, result(BAD, 3, code="http_502"))

    assert not is_shut(two)
    assert (three.paused_until, three.pause_reason) == (NOW + 5 * SECOND, "http_502")


def test_three_in_a_row_shut_it_however_long_they_took() -> None:
    valve = OPEN
    for n in range(3):
        at = NOW + n * timedelta(minutes=5)
        valve = fed(valve, result(BAD, n, at=at), at=at)

    assert is_shut(valve)


@pytest.mark.parametrize("between", [GOOD, NEUTRAL])
def test_a_provider_that_decides_anything_in_between_is_not_down(between: Sign) -> None:
    valve = OPEN
    for n in range(1, 40):
        valve = fed(valve, result(BAD, n, at=NOW + n * 61 * SECOND), at=NOW + n * 61 * SECOND)
        valve = fed(valve, result(between, 1000 + n, at=NOW + n * 61 * SECOND), at=NOW + n * 61 * SECOND)

    assert not is_shut(valve)


def test_over_five_percent_in_a_minute_and_at_least_three_shut_the_valve() -> None:
    valve = OPEN
    for n in range(1, 8):
        valve = fed(valve, result(BAD if n in (1, 4, 7) else GOOD, n))
        assert is_shut(valve) is (n == 7)


@pytest.mark.parametrize(("asked", "shut"), [(58, True), (59, True), (60, False), (61, False)])
def test_three_of_sixty_are_not_over_five_percent(asked: int, shut: bool) -> None:
    """The bad ones are apart, so they are not three in a row."""
    goods = [result(GOOD, n) for n in range(100, 100 + asked - 3)]
    bads = [result(BAD, n) for n in range(3)]
    valve = fed(OPEN, *goods[:-2], bads[0], goods[-2], bads[1], goods[-1], bads[2])

    assert is_shut(valve) is shut


def test_two_bad_ones_back_off_alone_whatever_their_share() -> None:
    valve = fed(OPEN, result(BAD, 1), result(GOOD, 2), result(BAD, 3))

    assert not is_shut(valve)


def test_the_minute_ends() -> None:
    valve = OPEN
    for n in range(10):
        at = NOW + n * 31 * SECOND
        valve = fed(valve, result(BAD, n, at=at), result(GOOD, 100 + n, at=at), at=at)

    assert not is_shut(valve)


# ── one poisonous grant ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("asked_between", [0, 1, 30])
def test_one_poisonous_grant_never_shuts_the_valve(asked_between: int) -> None:
    """It fails for ever by its own back-off, in a fleet that asks much, little or nothing meanwhile."""
    valve, at = OPEN, NOW
    for n in range(200):
        at += 2.5 * SECOND if n < 100 else 300 * SECOND
        goods = [result(GOOD, 100 + i, at=at) for i in range(asked_between)]
        valve = fed(valve, result(BAD, 1, at=at), *goods, at=at)
        assert not is_shut(valve)


def test_a_poisonous_grant_counts_once_when_the_provider_goes_down_as_well() -> None:
    poisoned = fed(OPEN, result(BAD, 1), result(GOOD, 2), result(BAD, 1), result(BAD, 1))

    assert not is_shut(fed(poisoned, result(BAD, 3)))
    assert is_shut(fed(poisoned, result(BAD, 3), result(BAD, 4)))


def test_a_client_with_a_single_grant_is_left_to_its_back_off() -> None:
    assert not is_shut(fed(OPEN, *[result(BAD, 1) for _ in range(50)]))


def test_two_grants_that_take_turns_in_failing_are_not_three_different_ones() -> None:
    for between in ([], [result(GOOD, 9)]):
        valve = OPEN
        for n in range(50):
            valve = fed(valve, result(BAD, n % 2), *between)
            assert not is_shut(valve)


def test_the_third_grant_that_fails_shuts_the_valve_however_often_the_others_did_before() -> None:
    valve = fed(OPEN, *[result(BAD, n % 2) for n in range(7)])

    assert is_shut(fed(valve, result(BAD, 2)))


# ── the canary ──────────────────────────────────────────────────────────────────────────────────────────────────

SHUT = fed(OPEN, *[result(BAD, n) for n in range(3)])


def test_while_it_is_shut_nothing_leaves_and_then_one_request() -> None:
    assert may(SHUT, NOW + 4.9 * SECOND) == Budget(0)
    assert may(SHUT, NOW + 5 * SECOND) == Budget(1, canary=True)


def failing_canaries(valve: Valve, sign: Sign, wait: timedelta | None = None) -> list[float]:
    """The pauses, in seconds, between canaries that all end badly after 1 s."""
    pauses = []
    for n in range(10):
        assert valve.paused_until is not None
        at = valve.paused_until
        assert may(valve, at) == Budget(1, canary=True)
        valve = take_canary(valve, at=at, grant_id=grant(n))
        assert may(valve, at) == Budget(0)
        valve = fed(valve, result(sign, n, at=at, wait=wait), at=at + SECOND)
        assert valve.paused_until is not None
        pauses.append((valve.paused_until - at).total_seconds())
    return pauses


DOUBLING = [10, 20, 40, 80, 160, 300, 300, 300, 300, 300]


def test_canaries_that_fail_go_ever_more_seldom_from_5_seconds_to_5_minutes() -> None:
    assert (SHUT.pause_seconds, failing_canaries(SHUT, BAD)) == (5, DOUBLING)


def test_canaries_that_are_refused_by_the_grant_alone_leave_it_shut() -> None:
    assert failing_canaries(SHUT, NEUTRAL) == DOUBLING


@pytest.mark.parametrize("wait", [None, timedelta(0), SECOND])
def test_canaries_that_get_another_429_go_ever_more_seldom_too(wait: timedelta | None) -> None:
    """Else a provider that says `Retry-After: 0` for ever would be asked as fast as it answers."""
    shut = fed(OPEN, result(NOT_NOW, wait=wait))

    pauses = failing_canaries(shut, NOT_NOW, wait)

    assert pauses == (DOUBLING if wait is None else [5, *DOUBLING[:-1]])


def test_a_canary_that_gets_another_429_waits_as_long_as_the_provider_says() -> None:
    pauses = failing_canaries(fed(OPEN, result(NOT_NOW, wait=30 * SECOND)), NOT_NOW, 30 * SECOND)

    assert pauses == [31, 31, 31, 40, 80, 160, 300, 300, 300, 300]


def test_the_next_canary_goes_by_itself_where_the_last_one_was_never_heard_of_again() -> None:
    asked = take_canary(SHUT, at=NOW + 5 * SECOND, grant_id=grant(1))

    assert (asked.paused_until, asked.canary_grant_id) == (NOW + 15 * SECOND, grant(1))
    assert may(asked, NOW + 15 * SECOND) == Budget(1, canary=True)


def test_a_success_opens_the_valve_and_forgets_all() -> None:
    asked = take_canary(SHUT, at=NOW + 5 * SECOND, grant_id=grant(7))
    opened = fed(asked, result(GOOD, 7, at=NOW + 5 * SECOND), at=NOW + 6 * SECOND)

    assert (opened.paused_until, opened.pause_reason, opened.pause_seconds) == (None, None, 0)
    assert (opened.canary_grant_id, opened.strike_grant_ids) == (None, [])
    assert not is_shut(fed(opened, *[result(BAD, n, at=NOW + 6 * SECOND) for n in (1, 2)], at=NOW + 7 * SECOND))


def test_a_late_success_of_an_earlier_canary_opens_the_valve_too() -> None:
    first = take_canary(SHUT, at=NOW + 5 * SECOND, grant_id=grant(1))
    second = take_canary(first, at=NOW + 15 * SECOND, grant_id=grant(2))

    assert not is_shut(fed(second, result(GOOD, 1, at=NOW + 5 * SECOND), at=NOW + 16 * SECOND))


# ── what was begun before the last change ───────────────────────────────────────────────────────────────────────


def test_a_success_that_was_begun_before_the_valve_shut_does_not_open_it() -> None:
    assert is_shut(fed(SHUT, result(GOOD, 9, at=NOW - SECOND), at=NOW + SECOND))


def test_failures_that_were_begun_before_the_valve_opened_do_not_shut_it_again() -> None:
    asked = take_canary(SHUT, at=NOW + 5 * SECOND, grant_id=grant(7))
    opened = fed(asked, result(GOOD, 7, at=NOW + 5 * SECOND), at=NOW + 6 * SECOND)
    stale = [result(sign, n, at=NOW + 5.5 * SECOND) for n, sign in enumerate([BAD] * 20 + [NOT_NOW] * 20)]

    assert fed(opened, *stale, at=NOW + 7 * SECOND) == opened


def test_twenty_429s_that_were_under_way_together_shut_it_once() -> None:
    storm = [result(NOT_NOW, n, at=NOW - SECOND, wait=(30 + n) * SECOND) for n in range(20)]

    assert fed(OPEN, *storm) == fed(OPEN, storm[0])
    assert fed(fed(OPEN, storm[0]), *storm[1:], at=NOW + 10 * SECOND) == fed(OPEN, storm[0])


# ── after an outage ─────────────────────────────────────────────────────────────────────────────────────────────


def test_when_it_opens_again_the_backlog_leaves_at_the_allowed_rate() -> None:
    limited = replace(OPEN, rate_per_minute=60, burst=20)
    shut = fed(limited, *[result(BAD, n) for n in range(3)])
    at = NOW + timedelta(hours=1)
    opened = fed(take_canary(shut, at=at, grant_id=grant(1)), result(GOOD, 1, at=at), at=at + SECOND)

    taken = []
    for tick in range(600):
        now = at + SECOND + tick * timedelta(milliseconds=100)
        count = may(opened, now).count
        opened = policy.take(opened, at=now, count=count)
        taken.append(count)
    assert max(taken) <= 2
    assert 55 <= sum(taken) <= 60


signs = st.builds(
    lambda number, sign, begun, wait: result(sign, number, at=NOW + begun * SECOND, wait=wait),
    st.integers(0, 3),
    st.sampled_from(Sign),
    st.integers(-60, 600),
    st.none() | st.timedeltas(timedelta(0), timedelta(minutes=5)),
)


@given(st.lists(st.tuples(st.integers(0, 40), st.lists(signs, max_size=4), st.booleans()), max_size=30))
def test_whatever_happens_it_is_never_shut_for_more_than_five_minutes(
    steps: list[tuple[int, list[Result], bool]],
) -> None:
    valve, at = OPEN, NOW
    for seconds, results, asks in steps:
        at += seconds * SECOND
        valve = feed(valve, results, at=at)
        if asks and may(valve, at).canary:
            valve = take_canary(valve, at=at, grant_id=grant(1))
        assert valve.paused_until is None or valve.paused_until <= at + 300 * SECOND
        assert (valve.paused_until is None) is (valve.pause_reason is None)
