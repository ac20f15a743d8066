"""The twin of the simulation does what PostgreSQL does: statement by statement, row by row."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from sqlalchemy import Engine

from tests.simulation import edges
from tests.simulation.drifting import changes
from tests.simulation.episode import Episode
from tests.simulation.lockstep import Lockstep
from tests.simulation.play import MACHINES, a_home, prepare, run
from tests.simulation.profiles import PROFILES, Profile
from tests.simulation.weather import Weather, draw

REWINDING = ("restore", "fail_over")


# Users withdraw, and the provider says so in words that nobody understands.
DYING = Weather(says_dead="403 unauthorized_client", hourly={"exodus": 1.0, "user_revokes": 2.0})


def play_beside_postgres(
    seed: str,
    profile: str | Profile,
    engine: Engine,
    refreshes: int,
    *,
    weather: Weather | None = None,
    prepared: Callable[[Episode], None] = lambda _episode: None,
) -> Lockstep:
    weather = weather or draw(Random(seed))
    for name in REWINDING:
        weather.hourly.pop(name, None)
    with a_home() as home:
        for machine in MACHINES:
            (home / machine).mkdir()
        kind = profile if isinstance(profile, Profile) else PROFILES[profile]
        episode = Episode(seed, kind, home, weather=weather)
        both = Lockstep(episode.tables, episode.engine.hook, engine)
        both.on_commit = episode.engine.on_commit
        episode.engine = both
        with edges.installed(episode.edges):
            prepare(episode, grants=20, workers=2, beats=2)
            both.prepare()
            prepared(episode)
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


WITHDRAWN = {"status": 403, "where": {"error": "unauthorized_client"}, "means": "dead", "reason": "revoked"}


@pytest.mark.parametrize("name", ["none", "family"])
def test_every_statement_does_the_same_where_a_rule_reads_the_dialect(database: Engine, name: str) -> None:
    profile = replace(PROFILES[name], overrides=PROFILES[name].overrides | {"answers": [WITHDRAWN]})
    weather = replace(DYING, explained=True)
    both = play_beside_postgres(f"twin/rules/{name}", profile, database, refreshes=60, weather=weather)
    letters = [row["cause"] for row in both.tables.letters.values() if row["rule"] == "1: dead, revoked"]
    assert "revoked" in letters


@pytest.mark.parametrize(("life", "told"), [(None, {"rotates"}), (900.0, {"rotates", "shorter_life"})])
def test_every_statement_does_the_same_where_a_provider_changes(
    life: float | None, told: set[str], database: Engine
) -> None:
    prepared = changes(1800, profile="family", life=life, tells=told)
    both = play_beside_postgres("twin/drift", "none", database, refreshes=60, weather=Weather(), prepared=prepared)
    client = both.tables.clients[1]
    assert (client["rotation"], set(client["drift"])) == ("family", told)


def test_every_statement_does_the_same_where_a_provider_gives_back_what_it_refused(database: Engine) -> None:
    weather = Weather(hourly={"mistake": 0.5})
    both = play_beside_postgres("twin/mistakes", "none", database, refreshes=80, weather=weather)
    assert any(row["looks"] and row["resolution"] == "recovered" for row in both.tables.letters.values())
