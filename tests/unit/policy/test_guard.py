"""May it be sent? Each check alone, and the six profiles in doubt."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.oauth.answer import HeldBack
from tasks.policy.guard import Situation, begins_doubt, guard

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
PROFILES = ["none", "on_use", "until_next_refresh", "grace", "immediate", "family"]

IDLE = Situation(
    rotation="family",
    age=SECOND,
    lease=60 * SECOND,
    deadline=30 * SECOND,
    journal_writable=True,
    client_paused=False,
    valve_shut=False,
    stopping=False,
    in_doubt_for=None,
    grace=None,
    journals_undrained=False,
    access_left=20 * MINUTE,
    life=120 * MINUTE,
)


@pytest.mark.parametrize("rotation", PROFILES)
def test_a_grant_that_is_not_in_doubt_may_be_sent_at_every_profile(rotation: str) -> None:
    assert guard(replace(IDLE, rotation=rotation)) is None


def test_what_is_not_sent_for_a_reason_of_this_process_says_so() -> None:
    assert guard(replace(IDLE, stopping=True)) == HeldBack("process_is_stopping")
    assert guard(replace(IDLE, journal_writable=False)) == HeldBack("journal_cannot_be_written")
    assert guard(replace(IDLE, valve_shut=True)) == HeldBack("valve_is_shut")


def test_an_operators_pause_holds_also_a_first_repeat_inside_its_grace() -> None:
    paused = replace(GRACE, in_doubt_for=SECOND, client_paused=True)
    assert guard(paused) == HeldBack("client_is_paused")


@pytest.mark.parametrize(("age", "held"), [(0, False), (30, False), (30.001, True), (60, True), (3600, True)])
def test_the_deadline_must_end_inside_the_lease(age: float, held: bool) -> None:
    assert guard(replace(IDLE, age=age * SECOND)) == (HeldBack("lease_is_too_short") if held else None)


# ── in doubt ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("rotation", ["none", "on_use", "until_next_refresh", "immediate"])
@pytest.mark.parametrize("journals_undrained", [True, False])
def test_where_a_repeat_kills_nothing_a_grant_in_doubt_is_sent_again(rotation: str, journals_undrained: bool) -> None:
    doubt = replace(IDLE, rotation=rotation, in_doubt_for=MINUTE, journals_undrained=journals_undrained)

    assert guard(doubt) is None


DOUBT = replace(IDLE, in_doubt_for=MINUTE)


def test_at_family_a_grant_in_doubt_waits_while_its_access_token_can_be_handed_out() -> None:
    assert guard(replace(DOUBT, access_left=90 * SECOND)) == HeldBack("access_token_still_serves", wait=30 * SECOND)
    assert guard(replace(DOUBT, access_left=61 * SECOND)) == HeldBack("access_token_still_serves", wait=SECOND)


def test_a_wait_of_the_profile_is_looked_at_again_after_five_minutes_at_most() -> None:
    assert guard(replace(DOUBT, access_left=120 * MINUTE)) == HeldBack("access_token_still_serves", wait=5 * MINUTE)


@pytest.mark.parametrize("left", [timedelta(0), -MINUTE, SECOND, 60 * SECOND, None])
def test_at_family_a_grant_whose_access_token_is_too_short_is_sent_again(left: timedelta | None) -> None:
    assert guard(replace(DOUBT, access_left=left)) is None


def test_too_short_is_a_quarter_of_a_short_life() -> None:
    short = replace(DOUBT, life=20 * SECOND)

    assert guard(replace(short, access_left=5 * SECOND)) is None
    assert guard(replace(short, access_left=7 * SECOND)) == HeldBack("access_token_still_serves", wait=2 * SECOND)


@pytest.mark.parametrize("left", [timedelta(0), None, 20 * MINUTE])
def test_at_family_a_grant_in_doubt_waits_for_the_journal_however_short_its_access_token(
    left: timedelta | None,
) -> None:
    assert guard(replace(DOUBT, access_left=left, journals_undrained=True)) is not None


@pytest.mark.parametrize(("life", "wait"), [(None, 5 * MINUTE), (120 * MINUTE, 5 * MINUTE), (20 * SECOND, 5 * SECOND)])
def test_the_journal_is_waited_for_in_steps(life: timedelta | None, wait: timedelta) -> None:
    waiting = replace(DOUBT, access_left=None, journals_undrained=True, life=life)

    assert guard(waiting) == HeldBack("journal_is_not_drained", wait=wait)


def test_a_grace_that_a_provider_file_names_means_nothing_at_family() -> None:
    assert guard(replace(DOUBT, in_doubt_for=SECOND, grace=600 * SECOND)) is not None


GRACE = replace(IDLE, rotation="grace", grace=30 * SECOND, deadline=7 * SECOND, lease=15 * SECOND)


@pytest.mark.parametrize(("since", "sent"), [(0, True), (8, True), (23, True), (23.001, False), (30, False)])
def test_at_grace_a_repeat_must_end_inside_the_grace(since: float, sent: bool) -> None:
    held = guard(replace(GRACE, in_doubt_for=since * SECOND, journals_undrained=True))

    assert (held is None) is sent


def test_at_grace_a_grant_in_doubt_is_like_family_once_the_grace_is_over() -> None:
    late = replace(GRACE, in_doubt_for=62 * SECOND)

    assert guard(late) == HeldBack("access_token_still_serves", wait=5 * MINUTE)
    assert guard(replace(late, access_left=None, journals_undrained=True)) == HeldBack(
        "journal_is_not_drained", wait=5 * MINUTE
    )
    assert guard(replace(late, access_left=None)) is None


@pytest.mark.parametrize(("since", "wait"), [(24, 37), (59, 2), (60, 1)])
def test_at_grace_nothing_is_sent_until_the_grace_of_every_repeat_is_over(since: float, wait: float) -> None:
    """What goes then is repeated like a first attempt: it must not be an earlier one's grace that it ends in."""
    late = replace(GRACE, age=0 * SECOND, access_left=None, in_doubt_for=since * SECOND)

    assert guard(late) == HeldBack("grace_is_not_over", wait=wait * SECOND)
    assert guard(replace(late, in_doubt_for=(since + 5) * SECOND, age=5 * SECOND)) == guard(late)


def test_at_grace_with_nothing_killed_after_it_only_the_grace_is_waited_for() -> None:
    late = replace(GRACE, in_doubt_for=50 * SECOND, after_grace="immediate", journals_undrained=True)

    assert guard(late) == HeldBack("grace_is_not_over", wait=12 * SECOND)
    assert guard(replace(late, in_doubt_for=62 * SECOND)) is None


@pytest.mark.parametrize(("doubt_since", "begins"), [(None, True), (60, False), (61, True), (1, False)])
def test_at_grace_an_attempt_after_every_earlier_grace_begins_a_doubt_of_its_own(
    doubt_since: int | None, begins: bool
) -> None:
    since = None if doubt_since is None else NOW - doubt_since * SECOND

    assert begins_doubt(NOW, since, 30 * SECOND) is begins
    assert begins_doubt(NOW, since, None) is (since is None)


def test_at_grace_the_first_repeat_goes_ahead_of_the_valve_and_the_later_ones_do_not() -> None:
    shut = replace(GRACE, in_doubt_for=8 * SECOND, valve_shut=True)

    assert guard(shut) is None
    assert guard(replace(shut, repeated=True)) == HeldBack("valve_is_shut")
    assert guard(replace(shut, in_doubt_for=25 * SECOND)) == HeldBack("valve_is_shut")
    assert guard(replace(shut, in_doubt_for=None)) == HeldBack("valve_is_shut")


@pytest.mark.parametrize("rotation", ["none", "on_use", "until_next_refresh", "immediate", "family"])
def test_no_other_profile_goes_ahead_of_the_valve(rotation: str) -> None:
    shut = replace(GRACE, rotation=rotation, in_doubt_for=SECOND, valve_shut=True)

    assert guard(shut) == HeldBack("valve_is_shut")


times = st.timedeltas(timedelta(0), timedelta(hours=3))
situations = st.builds(
    Situation,
    rotation=st.sampled_from(PROFILES),
    age=times,
    lease=times,
    deadline=times,
    journal_writable=st.booleans(),
    client_paused=st.booleans(),
    valve_shut=st.booleans(),
    stopping=st.booleans(),
    in_doubt_for=st.none() | times,
    grace=st.none() | times,
    journals_undrained=st.booleans(),
    access_left=st.none() | st.timedeltas(timedelta(hours=-3), timedelta(hours=3)),
    life=st.none() | times,
    repeated=st.booleans(),
    after_grace=st.sampled_from(["family", "immediate"]),
)


@given(situations)
def test_what_may_be_sent_breaks_no_rule_in_any_situation(now: Situation) -> None:
    """What docs/reference/provider-file.md allows a grant in doubt, and the other checks, written anew."""
    held = guard(now)

    if held is not None:
        assert held.wait is None or timedelta(0) <= held.wait <= 5 * MINUTE
        return
    assert now.journal_writable
    assert not now.stopping
    assert now.age + now.deadline <= now.lease
    in_grace = now.rotation == "grace" and now.grace is not None and now.in_doubt_for is not None
    in_grace = in_grace and (now.in_doubt_for or timedelta(0)) + now.deadline <= (now.grace or timedelta(0))
    assert in_grace or not now.valve_shut
    kills = now.rotation == "family" or (now.rotation == "grace" and now.after_grace == "family")
    if now.in_doubt_for is not None and kills and not in_grace:
        assert not now.journals_undrained
        assert now.access_left is None or now.access_left <= MINUTE
