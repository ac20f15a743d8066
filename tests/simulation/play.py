"""A play: one episode from a seed to a verdict.

After the wanted number of refreshes all faults end; then everything must come to rest: what lives is fresh, what is
lost is attributed and told, nothing waits in silence.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from tests.simulation import actors, edges
from tests.simulation.episode import Episode
from tests.simulation.judge import Violation
from tests.simulation.likeness import PREFIX, profile_like
from tests.simulation.profiles import PROFILES, Profile
from tests.simulation.rest import unrest
from tests.simulation.weather import WEATHERS, Weather

MACHINES = ("machine0", "machine1")
REST = 60 * 3600.0
REST_STEP = 3 * 3600.0
REST_LIVES = 18  # at most, in a step: of a minute each, three hours of suspects are a hundred thousand requests
MEMORY = Path("/dev/shm")  # noqa: S108  # the folder in it is our own


@dataclass
class Result:
    """What an episode came to."""

    seed: str
    profile: str
    wanted: int = 0
    kind: str = "all"  # of weather
    refreshes: int = 0
    cpu: float = 0.0
    hours: float = 0.0
    events: int = 0
    requests: int = 0
    losses: dict[str, int] = field(default_factory=dict)
    digest: str = ""
    violation: str = ""
    story: list[str] = field(default_factory=list)
    counted: dict[str, int] = field(default_factory=dict)
    excused: dict[str, int] = field(default_factory=dict)
    worst: float = 0.0  # the longest that a living grant was stale without an excuse, in lives
    drifted: dict[int, dict[str, float]] = field(default_factory=dict)  # clients: what of it was told, and when (s)
    shut: list[int] = field(default_factory=list)  # canaries of each valve that deaths have shut


@contextmanager
def a_home() -> Iterator[Path]:
    """A folder for journals, in memory."""
    home = Path(tempfile.mkdtemp(prefix="evergrant-simulation-", dir=MEMORY if MEMORY.is_dir() else None))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def play(
    seed: str,
    profile: str,
    *,
    refreshes: int,
    weather: Weather | None = None,
    tell: Any = None,
    kind: str = "all",
    prepared: Callable[[Episode], None] = lambda _episode: None,
) -> Result:
    """Play one episode; what went wrong is in the result.

    Its weather is the one given, or drawn from the seed: one of this kind. `prepared` is told when it begins.
    """
    with a_home() as home:
        for machine in MACHINES:
            (home / machine).mkdir()
        episode = Episode(seed, _profile(profile), home, weather=weather, tell=tell, drawn=WEATHERS[kind])
        result = Result(seed, profile, wanted=refreshes, kind=kind)
        grants = episode.weather.grants
        with edges.installed(episode.edges):
            random = episode.world.random
            try:
                prepare(episode, grants=grants, workers=random.choice((1, 2, 3)), beats=random.choice((1, 2, 3)))
                prepared(episode)
                run(episode, refreshes)
            except Violation as error:
                result.violation = str(error)
                result.story = episode.world.story_of(error.ref)
            finally:
                episode.end()
        judge = episode.judge
        result.refreshes, result.losses = judge.refreshes, dict(judge.losses)
        result.hours, result.events = episode.world.seconds / 3600, episode.world.steps
        result.requests = len(episode.network.sent)
        result.digest = episode.world.digest()
        result.counted = dict(judge.frozen)
        result.excused, result.worst = dict(+judge.living.excused), judge.living.worst
        result.drifted = judge.drifted
        result.shut = list(judge.breaker.shut_by_deaths)
        return result


def _profile(name: str) -> Profile:
    """One of the five, or `like:NAME`: that of a provider's file."""
    return profile_like(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else PROFILES[name]


def prepare(episode: Episode, *, grants: int, workers: int, beats: int, clients: int = 2) -> None:
    """Make rows and processes."""
    tables, now = episode.tables, episode.world.now
    tables.installation[1] = {
        "id": 1,
        "environment": "simulation",
        "timeline": tables.timeline,
        "incident_no": 0,
        "incident_at": None,
        "incident_reason": None,
        "place": None,
        "place_found": None,
    }
    for name, every in (("tell_late", 15), ("tell_waiting", 60), ("look_again", 60)):
        tables.chores[name] = {"name": name, "every": timedelta(seconds=every * 8), "due_at": now, "done_at": None}
    episode.on_gone = partial(actors.come_back, episode)
    episode.on_rewound = partial(actors.resume_what_came_back, episode)
    for _ in range(clients):
        actors.add_client(episode)
    for number in range(grants):
        spread = episode.world.random.random() * episode.weather.life if number % 2 else 0.0
        episode.world.after(spread, lambda number=number: actors.connect(episode, f"ref{number}"))  # type: ignore[misc]
    for number in range(workers):
        episode.start_worker(MACHINES[number % len(MACHINES)])
    for _ in range(beats):
        episode.start_beat()


def run(episode: Episode, refreshes: int) -> None:
    """Until so many refreshes were stored, then until everything is at rest."""
    actors.let_things_happen(episode)
    _look_at_the_living(episode)
    while episode.judge.refreshes < refreshes and len(episode.network.sent) < 2 * refreshes and episode.world.step():
        if episode.world.seconds > refreshes * 3600:
            episode.judge.fail("progress", "the refreshes do not get on", "-")
    _come_to_rest(episode)
    _judge_the_end(episode)


def _look_at_the_living(episode: Episode) -> None:
    episode.judge.living.look()
    episode.world.after(episode.weather.life / 40, partial(_look_at_the_living, episode))


def _come_to_rest(episode: Episode) -> None:
    """Let all faults end, and wait until nothing is left to say, or for long enough to say it."""
    episode.world.log("calm")
    episode.calm = True
    step = min(REST_STEP, REST_LIVES * episode.weather.life)
    actors.heal(episode)
    end = episode.world.seconds + REST
    while episode.world.seconds < end:
        until = episode.world.seconds + step
        while episode.world.seconds < until and episode.world.step():
            pass
        rows = episode.tables.grants.values()
        if not any(row["started_at"] or unrest(episode, row) for row in rows):
            return


def _judge_the_end(episode: Episode) -> None:
    episode.judge.count_losses()
    episode.judge.check_held()
    for row in episode.tables.grants.values():
        if told := unrest(episode, row):
            episode.judge.fail(*told, row["ref"])
