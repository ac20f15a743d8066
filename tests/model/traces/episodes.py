"""Episodes of the simulation that are watched, in the weather that the seed draws or in a rough one."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from unittest.mock import patch

from tests.model.traces.simulated import Watcher
from tests.simulation.episode import Episode
from tests.simulation.judge import Judge
from tests.simulation.mutants import applied
from tests.simulation.play import play
from tests.simulation.weather import FATES, Weather


def rough(profile: str) -> Weather:
    """A weather in which much goes wrong with single grants, and nothing that has no model."""
    return Weather(
        fates=dict.fromkeys(FATES, 0.004 if profile in ("immediate", "family") else 0.01),
        kill=0.00005,
        freeze=0.005,
        strand=0.1,
        commit_reset=0.05,
        disk=0.02,
        duplicate=0.3,
        lose=0.1,
        delay=0.2,
        hourly={"stall": 30.0, "strike": 20.0, "forge": 2.0, "request": 4.0, "use": 8.0, "user_revokes": 0.5,
                "revoke": 1.0, "rolling_restart": 0.2, "disk_full": 0.3, "database_away": 0.3},
        life=1200.0,
        grants=20,
    )  # fmt: skip


@contextmanager
def _silence() -> Iterator[None]:
    """Let an episode go on whatever the judge finds, as long as it gets on at all."""
    real = Judge.fail

    def fail(judge: Judge, invariant: str, told: str, ref: str) -> None:
        if invariant == "progress":
            real(judge, invariant, told, ref)

    with patch.object(Judge, "fail", fail):
        yield


def watch(seed: str, profile: str, *, refreshes: int, mutant: str = "", weather: Weather | None = None) -> Watcher:
    """Play one episode and watch it; of a wrong design the judge says nothing, for the traces alone must show it."""
    watchers: list[Watcher] = []

    def prepared(episode: Episode) -> None:
        watchers.append(Watcher(episode))
        episode.onlooker = watchers[0]

    with applied(mutant), _silence() if mutant else nullcontext():
        play(seed, profile, refreshes=refreshes, weather=weather, prepared=prepared)
    watchers[0].end()
    return watchers[0]
