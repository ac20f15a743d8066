"""A provider that changes in mid-run, as the simulation sees it; the judge fails every episode with a false alarm."""

import pytest

from tests.simulation.drifting import changes
from tests.simulation.play import play
from tests.simulation.weather import Weather

HOUR = 3600.0
# Answers come late, and repeats before them: only so a token's early death can be seen.
ROUGH = Weather(kill=0.002, strand=0.3, grants=15, hourly={"strike": 20, "stall": 20})


def test_a_profile_that_became_stricter_is_told_within_hours() -> None:
    prepared = changes(HOUR / 2, profile="immediate", tells={"early_death"})
    result = play("drift2", "on_use", refreshes=150, weather=ROUGH, prepared=prepared)
    assert not result.violation, "\n".join([result.violation, *result.story])
    assert all(at > HOUR / 2 for told in result.drifted.values() for at in told.values())
    assert any("early_death" in told for told in result.drifted.values())


def test_refresh_tokens_that_stay_no_longer_are_told_with_the_first_answer() -> None:
    prepared = changes(HOUR, profile="family", tells={"rotates"})
    result = play("drift", "none", refreshes=150, weather=Weather(grants=20), prepared=prepared)
    assert not result.violation, "\n".join([result.violation, *result.story])
    assert set(result.drifted) == {1, 2}
    assert not result.losses


@pytest.mark.parametrize("profile", ["on_use", "family"])
def test_lives_that_became_shorter_are_told_and_nobody_is_stale(profile: str) -> None:
    prepared = changes(HOUR, life=900.0, tells={"shorter_life"})
    result = play("drift", profile, refreshes=150, weather=Weather(grants=20), prepared=prepared)
    assert not result.violation, "\n".join([result.violation, *result.story])
    assert set(result.drifted[1]) == {"shorter_life"}
