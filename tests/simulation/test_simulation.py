"""The short form of the simulation; the long one is `python -m tests.simulation --refreshes N`."""

import pytest

from tests.simulation.mutants import WEATHER_OF, applied
from tests.simulation.play import play
from tests.simulation.profiles import PROFILES
from tests.simulation.weather import Weather

REFRESHES = dict.fromkeys(PROFILES, 400) | {"until_next_refresh": 150}  # whose storms have three times the requests


@pytest.mark.parametrize("profile", PROFILES)
def test_no_grant_is_lost_in_a_storm_but_those_whose_answer_was_lost(profile: str) -> None:
    for number in (1, 2):
        result = play(f"short.{number}", profile, refreshes=REFRESHES[profile])
        assert not result.violation, "\n".join([result.violation, *result.story])
        assert result.refreshes >= 100


@pytest.mark.parametrize("profile", PROFILES)
def test_in_calm_weather_every_grant_is_kept_with_one_request_for_each_life(profile: str) -> None:
    result = play("calm", profile, refreshes=200, weather=Weather())
    assert not result.violation, "\n".join([result.violation, *result.story])
    assert not result.losses
    assert result.requests == result.refreshes


@pytest.mark.parametrize("profile", PROFILES)
def test_however_many_die_in_whatever_words_nobody_who_lives_is_stale_and_nothing_excuses_it(profile: str) -> None:
    result = play("deaths.1", profile, refreshes=200, kind="deaths")
    assert not result.violation, "\n".join([result.violation, *result.story])
    assert not result.excused
    assert not result.losses


@pytest.mark.parametrize("kind", ["deaths_and_trouble", "few_and_understood"])
def test_deaths_beside_a_wrong_secret_an_outage_or_alone_in_a_small_fleet_break_nothing(kind: str) -> None:
    for profile in PROFILES:
        result = play(f"{kind}.1", profile, refreshes=REFRESHES[profile] // 4, kind=kind)
        assert not result.violation, "\n".join([result.violation, *result.story])


@pytest.mark.parametrize("mutant", ["no_witness", "every_refusal_is_the_grants"])
def test_a_wrong_judgement_is_found_soon_in_its_weather(mutant: str) -> None:
    with applied(mutant):
        found = (
            play(f"mend.{number}", profile, refreshes=400, kind=WEATHER_OF[mutant]).violation
            for number in range(1, 6)
            for profile in PROFILES
        )
        assert any(found)


def test_who_is_declared_dead_by_mistake_is_brought_back_by_a_second_look() -> None:
    weather = Weather(hourly={"mistake": 0.3}, grants=10)
    results = [play(f"mistake.{n}", profile, refreshes=80, weather=weather) for n in range(2) for profile in PROFILES]
    for result in results:
        assert not result.violation, "\n".join([result.violation, *result.story])
    assert sum(result.counted.get("brought back a grant that was thought dead", 0) for result in results) >= 3


def test_a_day_after_a_death_in_a_dialect_a_human_is_told_and_nobody_else_was() -> None:
    weather = Weather(says_dead="403 unauthorized_client", grants=10, hourly={"user_revokes": 0.2})
    result = play("a day", "none", refreshes=250, weather=weather)
    assert not result.violation, "\n".join([result.violation, *result.story])


def test_workers_that_are_killed_before_they_can_do_anything_are_told_and_end_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.simulation.episode.STARTS_IN_VAIN", 20)
    violation = play("in vain", "none", refreshes=100, weather=Weather(kill=0.9)).violation
    assert violation == "progress: it does not get on: 21 workers since the last of 0 refreshes"


def test_the_same_seed_is_the_same_simulation_byte_for_byte() -> None:
    first: list[str] = []
    second: list[str] = []
    play("twice", "family", refreshes=150, tell=first.append)
    play("twice", "family", refreshes=150, tell=second.append)
    assert first == second
    assert len(first) > 300


@pytest.mark.parametrize(
    ("mutant", "revocations"), [("no_claim_cas", 5), ("not_journaled", 5), ("revocation_ignored_at_start", 60)]
)
def test_a_wrong_design_is_found(mutant: str, revocations: int) -> None:
    rough = Weather(kill=0.002, strand=0.2, duplicate=0.5, delay=0.2, hourly={"revoke": revocations, "request": 20})
    with applied(mutant):
        found = (play(f"wrong.{number}", "immediate", refreshes=300, weather=rough).violation for number in range(20))
        assert any(found)


def test_whom_a_429_met_since_the_valve_shut_is_no_better_a_canary_than_whom_trouble_met() -> None:
    """Found by the judge, which was wrong: a 429 counts against no grant, so that one looked as if it were well."""
    result = play("amazon-sp-api-f4.16", "like:amazon-sp-api", refreshes=1000, kind="deaths_and_trouble")
    assert not result.violation, "\n".join([result.violation, *result.story])
    assert result.requests > 1000


def test_a_canary_that_does_not_move_the_next_one_away_is_found() -> None:
    with applied("canary_without_end"):
        violation = play("canary", "none", refreshes=300, weather=Weather(fates={"http_503_before": 0.1})).violation
    assert violation == "12: a canary was taken, and the next one may follow at once"
