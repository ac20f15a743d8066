"""The twin of the simulation does what PostgreSQL does: statement by statement, row by row."""

from random import Random

import pytest
from sqlalchemy import Engine

from tests.simulation import edges
from tests.simulation.episode import Episode
from tests.simulation.lockstep import Lockstep
from tests.simulation.play import MACHINES, a_home, prepare, run
from tests.simulation.profiles import PROFILES
from tests.simulation.weather import Weather, draw

REWINDING = ("restore", "fail_over")


# Users withdraw, and the provider says so in words that nobody understands.
DYING = Weather(says_dead="403 unauthorized_client", hourly={"exodus": 1.0, "user_revokes": 2.0})


def play_beside_postgres(
    seed: str, profile: str, engine: Engine, refreshes: int, *, weather: Weather | None = None
) -> Lockstep:
    weather = weather or draw(Random(seed))
    for name in REWINDING:
        weather.hourly.pop(name, None)
    with a_home() as home:
        for machine in MACHINES:
            (home / machine).mkdir()
        episode = Episode(seed, PROFILES[profile], home, weather=weather)
        both = Lockstep(episode.tables, episode.engine.hook, engine)
        both.on_commit = episode.engine.on_commit
        episode.engine = both
        with edges.installed(episode.edges):
            prepare(episode, grants=20, workers=2, beats=2)
            both.prepare()
            try:
                run(episode, refreshes)
            finally:
                episode.end()
            both.compare()
            both.theirs.close()
    return both


@pytest.mark.parametrize("profile", PROFILES)
def test_every_statement_of_an_episode_does_the_same_in_postgresql(profile: str, database: Engine) -> None:
    both = play_beside_postgres(f"twin/{profile}", profile, database, refreshes=60)
    assert both.statements > 1000


def test_every_statement_does_the_same_where_many_are_refused_in_a_dialect(database: Engine) -> None:
    both = play_beside_postgres("twin/deaths", "none", database, refreshes=60, weather=DYING)
    assert sum(row["refusals"] > 0 for row in both.tables.grants.values()) >= 3
    assert any(row["witness_grant_ids"] for row in both.tables.witnesses.values())


def test_every_statement_does_the_same_where_a_provider_gives_back_what_it_refused(database: Engine) -> None:
    weather = Weather(hourly={"mistake": 0.5})
    both = play_beside_postgres("twin/mistakes", "none", database, refreshes=80, weather=weather)
    assert any(row["looks"] and row["resolution"] == "recovered" for row in both.tables.letters.values())
