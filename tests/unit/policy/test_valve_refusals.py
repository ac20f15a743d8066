"""The valve and refusals that nobody understands: ours, where nobody succeeds; the grant's own, where others do."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.policy.valve import (
    WITNESSES,
    Result,
    Sign,
    Valve,
    feed,
    is_shut_for_refusals,
    shut,
    take_canary,
    trued,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
OPEN = Valve(rate_per_minute=None, burst=2000, next_slot_at=NOW, slot_no=0)


def grant(number: int) -> UUID:
    return UUID(int=number)


def refused(number: int, *, at: datetime, code: str = "unauthorized_client") -> Result:
    return Result(grant(number), at, Sign.REFUSED, code)


def refreshed(number: int, *, at: datetime) -> Result:
    return Result(grant(number), at, Sign.GOOD, "refreshed", refreshed=True)


def after(valve: Valve, *rounds: list[Result]) -> Valve:
    """Feed one round a second, each begun half a second before it is told."""
    for n, results in enumerate(rounds):
        valve = feed(valve, results, at=NOW + n * SECOND)
    return valve


def begun(n: int) -> datetime:
    """When the requests of a round were begun."""
    return NOW + n * SECOND - SECOND / 2


def is_shut(valve: Valve) -> bool:
    return valve.paused_until is not None


def test_three_different_grants_refused_alike_with_no_success_between_shut_the_valve() -> None:
    rounds = [[refused(n, at=begun(n), code="invalid_client")] for n in range(3)]

    assert not is_shut(after(OPEN, *rounds[:2]))
    valve = after(OPEN, *rounds)
    assert (valve.paused_until, valve.pause_reason) == (NOW + 7 * SECOND, "invalid_client")


def test_one_grant_refused_again_and_again_tells_of_itself() -> None:
    assert not is_shut(after(OPEN, *[[refused(1, at=begun(n))] for n in range(9)]))


def test_grants_refused_in_different_words_are_not_refused_alike() -> None:
    words = ["invalid_client", "bad_refresh_token", "invalid_client", "access_denied", "invalid_client"]

    assert not is_shut(after(OPEN, *[[refused(n, at=begun(n), code=word)] for n, word in enumerate(words)]))


def test_a_success_begun_since_is_a_witness_that_it_is_not_us() -> None:
    rounds = [
        [refused(1, at=begun(0))],
        [refused(2, at=begun(1)), refreshed(9, at=begun(1))],
        [refused(3, at=begun(2))],
    ]

    assert not is_shut(after(OPEN, *rounds))


def test_a_success_that_was_on_its_way_already_proves_nothing() -> None:
    rounds = [
        [refused(1, at=begun(0))],
        [refreshed(9, at=begun(0)), refused(2, at=begun(1))],
        [refused(3, at=begun(2))],
    ]

    assert is_shut(after(OPEN, *rounds))


def test_what_left_together_is_no_proof_before_the_others_of_its_kind_had_their_say() -> None:
    together = [refused(n, at=begun(0)) for n in range(20)]

    assert not is_shut(after(OPEN, together))
    assert not is_shut(after(OPEN, together, [refused(21, at=begun(1)), refreshed(50, at=begun(1))]))
    assert is_shut(after(OPEN, together, [refused(n, at=begun(1)) for n in (21, 22)]))


def test_a_witness_counts_wherever_it_stands_among_those_who_answered_together() -> None:
    last = [*[refused(n, at=begun(1)) for n in range(2, 9)], refreshed(50, at=begun(1))]

    assert not is_shut(after(OPEN, [refused(1, at=begun(0))], last))


def test_a_revocation_that_was_answered_200_is_no_witness() -> None:
    accepted = Result(grant(9), begun(1), Sign.GOOD, "accepted")
    rounds = [[refused(1, at=begun(0))], [accepted, refused(2, at=begun(1))], [refused(3, at=begun(2))]]

    assert is_shut(after(OPEN, *rounds))


def test_a_shut_valve_opens_for_a_witness_that_was_sent_before_it_was_shut() -> None:
    valve = after(OPEN, *[[refused(n, at=begun(n))] for n in range(3)])

    assert is_shut(valve)
    assert not is_shut(feed(valve, [refreshed(9, at=begun(1))], at=NOW + 3 * SECOND))
    assert is_shut(feed(valve, [refreshed(9, at=begun(0))], at=NOW + 3 * SECOND))


def test_a_valve_that_the_provider_shut_does_not_open_for_an_older_success() -> None:
    valve = after(OPEN, [refused(1, at=begun(0))])
    valve = shut(valve, at=NOW + 2 * SECOND, reason="http_503", wait=None)

    assert is_shut(feed(valve, [refreshed(9, at=begun(1))], at=NOW + 3 * SECOND))


def test_a_refused_canary_opens_nothing_and_the_next_one_is_sought_among_the_last_that_succeeded() -> None:
    valve = shut(after(OPEN, [refreshed(7, at=begun(0))]), at=NOW, reason="http_503", wait=None)
    valve = take_canary(valve, at=NOW + 5 * SECOND, grant_id=grant(1))
    valve = feed(valve, [refused(1, at=NOW + 5 * SECOND)], at=NOW + 6 * SECOND)

    assert is_shut(valve)
    assert valve.refused_since == NOW + 6 * SECOND
    assert valve.witness_grant_ids == [grant(7)]
    opened = feed(valve, [refreshed(7, at=NOW + 10 * SECOND)], at=NOW + 11 * SECOND)
    assert (opened.paused_until, opened.refused_since, opened.refused_grant_ids) == (None, None, [])


def test_the_last_that_succeeded_are_asked_five_seconds_apart_each_once_before_the_pause_doubles() -> None:
    valve = after(OPEN, *[[refreshed(n, at=begun(n))] for n in range(WITNESSES)])
    valve = after(valve, *[[refused(n, at=begun(n) + MINUTE)] for n in (91, 92, 93)])
    pauses = []
    for number in [*reversed(range(WITNESSES)), 94, 95]:
        valve = take_canary(valve, at=NOW, grant_id=grant(number), is_witness=number < WITNESSES)
        pauses.append(valve.pause_seconds)

    assert pauses == [5, 5, 5, 5, 5, 10, 20]


def test_a_witness_that_is_asked_again_because_its_message_was_lost_doubles_the_pause() -> None:
    valve = after(OPEN, [refreshed(1, at=begun(0))], *[[refused(n, at=begun(n))] for n in (2, 3, 4)])
    pauses = []
    for _ in range(4):
        valve = take_canary(valve, at=NOW, grant_id=grant(1), is_witness=True)
        pauses.append(valve.pause_seconds)

    assert pauses == [5, 10, 20, 40]


def test_the_last_few_that_succeeded_are_remembered_the_newest_first_each_once() -> None:
    numbers = [1, 2, 3, 2, 4, 5, 6, 7, 6]
    valve = after(OPEN, *[[refreshed(number, at=begun(n))] for n, number in enumerate(numbers)])

    assert valve.witness_grant_ids == [grant(n) for n in (6, 7, 5, 4, 2)]
    assert len(valve.witness_grant_ids) == WITNESSES
    assert valve.witness_at == begun(len(numbers) - 1)


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 99), st.booleans()), min_size=1, max_size=20), min_size=1, max_size=20)
)
def test_while_in_each_round_somebody_is_refreshed_no_number_of_refusals_shuts_the_valve(
    rounds: list[list[tuple[int, bool]]],
) -> None:
    fed = [
        [*[refused(number, at=begun(n)) for number, _ in each], refreshed(1000 + n, at=begun(n))]
        for n, each in enumerate(rounds)
    ]

    valve = OPEN
    for n, results in enumerate(fed):
        valve = feed(valve, results, at=NOW + n * SECOND)
        assert not is_shut(valve)
    assert len(valve.refused_grant_ids) <= 3


@pytest.mark.parametrize("code", ["invalid_client", "unauthorized_client", "http_403"])
def test_where_nobody_succeeds_the_second_round_shuts_it_whatever_the_word(code: str) -> None:
    rounds = [[refused(10 * n + m, at=begun(n), code=code) for m in range(5)] for n in range(2)]

    assert is_shut(after(OPEN, *rounds))
    assert len(set(chain.from_iterable([r.grant_id for r in each] for each in rounds))) == 10


def test_a_revocation_refused_again_and_again_while_others_are_refreshed_shuts_no_valve() -> None:
    valve = after(OPEN, [refreshed(50, at=begun(0))])
    again = [refused(n, at=begun(n))._replace(refused_since=begun(-1)) for n in range(1, 9)]

    for n, each in enumerate(again, 1):
        valve = feed(valve, [each], at=NOW + n * SECOND)
    assert not is_shut(valve)
    assert is_shut(after(OPEN, *[[refused(n, at=begun(n))._replace(refused_since=begun(-1))] for n in range(3)]))


def test_who_is_refused_alike_is_not_forgotten_for_a_revocation_refused_in_another_word() -> None:
    between = refused(50, at=begun(1), code="invalid_client")._replace(of_refresh=False)
    rounds = [[refused(1, at=begun(0))], [between], [refused(2, at=begun(2))], [between], [refused(3, at=begun(4))]]

    assert not is_shut(after(OPEN, *rounds[:4]))
    assert is_shut(after(OPEN, *rounds))


def test_three_revocations_that_are_refused_alike_shut_the_valve_as_well() -> None:
    rounds = [[refused(n, at=begun(n))._replace(of_refresh=False)] for n in range(3)]

    assert is_shut(after(OPEN, *rounds))


def test_refusals_end_a_row_of_silences() -> None:
    bad = [Result(grant(n), NOW, Sign.BAD, "timeout") for n in range(3)]

    assert is_shut(feed(OPEN, bad, at=NOW))
    assert not is_shut(
        feed(replace(OPEN, minute_asked=100, minute_at=NOW), [*bad[:2], refused(9, at=NOW), bad[2]], at=NOW)
    )


def test_a_valve_that_a_success_has_just_opened_is_not_shut_again_for_a_minute() -> None:
    """A thousand dead are worked through, and one who lives is asked by each of the canaries."""
    valve = after(OPEN, *[[refused(n, at=begun(n))] for n in range(3)])
    opened = feed(valve, [refreshed(9, at=NOW + 8 * SECOND)], at=NOW + 9 * SECOND)
    assert not is_shut(opened)

    def shut_by(valve: Valve, first: int) -> bool:
        for n in range(3):
            at = NOW + (first + n) * SECOND
            valve = feed(valve, [refused(100 + n, at=at - SECOND / 2)], at=at)
        return is_shut(valve)

    assert not shut_by(opened, 10)
    assert shut_by(opened, 71)


def test_six_who_are_refused_in_as_many_words_while_nobody_succeeds_are_ours() -> None:
    """A wrong secret behind nodes that each have a word of their own."""
    rounds = [[refused(n, at=begun(n), code=f"node-{n % 2}")] for n in range(8)]

    assert not is_shut(after(OPEN, *rounds[:5]))
    assert is_shut(after(OPEN, *rounds[:6]))


def test_of_six_different_words_none_counts_that_was_told_before_a_success() -> None:
    rounds = [[refused(n, at=begun(n), code=f"node-{n % 2}")] for n in range(9)]
    rounds[4] = [*rounds[4], refreshed(99, at=begun(4))]

    assert not is_shut(after(OPEN, *rounds))


def test_what_one_grant_is_refused_in_is_one_strike_however_many_words_it_has() -> None:
    assert not is_shut(after(OPEN, *[[refused(1, at=begun(n), code=f"word-{n}")] for n in range(20)]))


def test_a_valve_that_is_shut_for_refusals_stays_so_where_its_canary_is_refused_in_another_word() -> None:
    valve = after(OPEN, [refreshed(7, at=begun(0))], *[[refused(n, at=begun(n))] for n in (1, 2, 3)])
    valve = feed(valve, [refused(7, at=NOW + 9 * SECOND, code="another")], at=NOW + 10 * SECOND)

    assert is_shut_for_refusals(valve)


def test_what_the_release_before_left_standing_when_it_opened_a_valve_is_forgotten() -> None:
    valve = after(OPEN, *[[refused(n, at=begun(n))] for n in range(3)])
    opened = replace(valve, paused_until=None, pause_reason=None, changed_at=NOW + MINUTE)

    assert trued(valve) == valve
    assert trued(opened).refused_since is None
    assert trued(opened).refused_grant_ids == trued(opened).mixed_grant_ids == []
    anew = replace(opened, refused_since=NOW + 3 * MINUTE)
    assert trued(anew) == anew
