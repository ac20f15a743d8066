"""Who is dead: every check alone, and the numbers of the mass guard."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.oauth.rules import Reason
from tasks.policy.verdict import Death, Evidence, Verdict, Wait, mass, verdict

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SOON = timedelta(minutes=10)

DEAD = Evidence(
    at=NOW,
    suspect_at=NOW - SOON,
    in_doubt=False,
    journals_undrained=False,
    untried_former_tokens=0,
    witnessed=True,
    access_expired=False,
    access_rejected=False,
    suspects=1,
    asked=100,
    deaths_accepted_at=None,
)


def test_a_grant_that_was_refused_again_while_others_live_needs_consent() -> None:
    assert verdict(DEAD) == Verdict(Death.REVOKED_OR_EXPIRED)


def test_a_grant_that_was_in_doubt_died_of_a_lost_answer() -> None:
    assert verdict(replace(DEAD, in_doubt=True)) == Verdict(Death.RESPONSE_LOST)


def test_a_journal_that_may_hold_the_answer_is_waited_for_only_where_there_is_doubt() -> None:
    assert verdict(replace(DEAD, in_doubt=True, journals_undrained=True)) == Wait("journals_are_drained")
    assert verdict(replace(DEAD, in_doubt=False, journals_undrained=True)) == Verdict(Death.REVOKED_OR_EXPIRED)


def test_a_former_token_that_was_not_tried_yet_is_waited_for() -> None:
    assert verdict(replace(DEAD, untried_former_tokens=1)) == Wait("former_tokens_were_tried")


def test_without_a_witness_the_end_of_the_access_token_must_do_or_a_day() -> None:
    alone = replace(DEAD, witnessed=False)

    assert verdict(alone) == Wait("has_a_witness")
    assert verdict(replace(alone, access_expired=True)) == Verdict(Death.REVOKED_OR_EXPIRED)
    assert verdict(replace(alone, access_rejected=True)) == Verdict(Death.REVOKED_OR_EXPIRED)
    assert verdict(replace(alone, suspect_at=NOW - timedelta(hours=24))) == Verdict(Death.REVOKED_OR_EXPIRED)
    assert verdict(replace(alone, suspect_at=NOW - timedelta(hours=23.9))) == Wait("has_a_witness")


def test_while_half_the_fleet_is_refused_nobody_is_declared_dead() -> None:
    assert verdict(replace(DEAD, suspects=6)) == Wait("the_mass_guard_is_off")


def test_a_human_lets_through_those_that_were_suspect_when_they_looked() -> None:
    held = replace(DEAD, suspects=6)

    assert verdict(replace(held, deaths_accepted_at=NOW)) == Verdict(Death.REVOKED_OR_EXPIRED)
    assert verdict(replace(held, deaths_accepted_at=held.suspect_at)) == Verdict(Death.REVOKED_OR_EXPIRED)
    assert verdict(replace(held, deaths_accepted_at=NOW - timedelta(hours=1))) == Wait("the_mass_guard_is_off")


def test_accepted_deaths_still_need_all_the_other_checks() -> None:
    accepted = replace(DEAD, suspects=6, deaths_accepted_at=NOW)

    assert verdict(replace(accepted, witnessed=False)) == Wait("has_a_witness")
    assert verdict(replace(accepted, untried_former_tokens=1)) == Wait("former_tokens_were_tried")


MASSES = [
    # suspects, asked, held
    (0, 0, False),
    (1, 0, False),
    (1, 1, False),  # a single grant is no mass
    (2, 2, True),  # all of two
    (2, 3, False),
    (5, 5, True),
    (5, 6, False),
    (5, 100, False),
    (6, 7, True),  # more than five
    (6, 100, True),
    (6, 599, True),
    (6, 600, False),  # 1 % of 600: not more
    (7, 600, True),
    (10, 1_000, False),
    (11, 1_000, True),
    (1_000, 100_000, False),
    (1_001, 100_000, True),
]


@pytest.mark.parametrize(("suspects", "asked", "held"), MASSES)
def test_a_mass_is_more_than_five_and_one_percent_or_all_of_two_or_more(suspects: int, asked: int, held: bool) -> None:
    assert mass(suspects=suspects, asked=asked) is held


@given(st.integers(0, 10_000), st.integers(0, 10**6))
def test_counting_no_further_than_a_hundred_times_the_suspects_changes_nothing(suspects: int, asked: int) -> None:
    """The statement that counts stops there (models/suspects.py)."""
    assert mass(suspects=suspects, asked=asked) is mass(suspects=suspects, asked=min(asked, 100 * suspects + 1))


evidence = st.builds(
    Evidence,
    at=st.just(NOW),
    suspect_at=st.timedeltas(timedelta(0), timedelta(days=3)).map(lambda ago: NOW - ago),
    in_doubt=st.booleans(),
    journals_undrained=st.booleans(),
    untried_former_tokens=st.integers(0, 3),
    witnessed=st.booleans(),
    access_expired=st.booleans(),
    access_rejected=st.booleans(),
    suspects=st.integers(0, 20),
    asked=st.integers(0, 3000),
    deaths_accepted_at=st.none() | st.timedeltas(timedelta(0), timedelta(days=3)).map(lambda ago: NOW - ago),
)


@given(evidence)
def test_a_verdict_needs_all_of_it(known: Evidence) -> None:
    """The verdict of docs/reference/outcomes.md, written anew."""
    judged = verdict(known)

    needed = [
        not (known.in_doubt and known.journals_undrained),
        known.untried_former_tokens == 0,
        known.witnessed
        or known.access_expired
        or known.access_rejected
        or known.at >= known.suspect_at + timedelta(hours=24),
        not mass(suspects=known.suspects, asked=known.asked)
        or (known.deaths_accepted_at is not None and known.deaths_accepted_at >= known.suspect_at),
    ]
    assert isinstance(judged, Verdict) is all(needed)


def test_the_reason_is_what_a_rule_tells_but_for_a_grant_whose_answer_was_lost() -> None:
    assert verdict(replace(DEAD, told=Reason.APP_REMOVED)) == Verdict(Death.APP_REMOVED)
    assert verdict(replace(DEAD, told=Reason.APP_REMOVED, in_doubt=True)) == Verdict(Death.RESPONSE_LOST)


def test_each_reason_of_a_rule_is_one_of_a_verdict_and_the_other_way_round() -> None:
    assert {*map(str, Death)} == {*map(str, Reason), Death.RESPONSE_LOST, Death.REVOKED_OR_EXPIRED}
