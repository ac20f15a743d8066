"""What was collected: the windows of one profile, those that are alike once, and why they end where they do."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.model.traces.episodes import rough, watch
from tests.model.traces.event import Trace, What
from tests.model.traces.window import Window

ODD = frozenset({What.KILLED, What.LAPSED, What.NOT_JOURNALED, What.SURPLUS, What.RELEASED, What.ENDED, What.END_ASKED})


@dataclass
class Collected:
    """Windows as traces, each kind once, and how often it was seen."""

    source: str
    profile: str
    windows: Counter[Trace] = field(default_factory=Counter)
    cuts: Counter[str] = field(default_factory=Counter)

    def add(self, window: Window, pairs: Sequence[Any]) -> None:
        """Take in one window, with all pairs of its consent in the provider's order."""
        trace = window.trace(pairs)
        if window.cut:
            self.cuts[window.cut] += 1
        if trace.events:
            self.windows[trace] += 1

    def merge(self, other: "Collected") -> None:
        """Take in what another process has collected."""
        self.windows.update(other.windows)
        self.cuts.update(other.cuts)

    @property
    def odd(self) -> int:
        """How many of its traces hold more than refreshes that go well."""
        return sum(any(event.what in ODD for event in trace.events) for trace in self.windows)


def of_simulation(
    profiles: Sequence[str], seed: str, episodes: int, refreshes: int, processes: int, *, mutant: str = ""
) -> Iterator[Collected]:
    """Play episodes, half of them in a weather drawn as ever and half in a rough one, and collect their windows."""
    jobs = [(profile, f"{seed}.{number}") for profile in profiles for number in range(1, episodes + 1)]
    play = partial(_played, refreshes=refreshes, mutant=mutant)
    if processes == 1:
        yield from _by_profile(profiles, map(play, jobs))
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from _by_profile(profiles, pool.map(play, jobs))


def _played(job: tuple[str, str], *, refreshes: int, mutant: str) -> Collected:
    profile, seed = job
    is_rough = mutant or int(seed.rpartition(".")[2]) % 2
    watcher = watch(seed, profile, refreshes=refreshes, mutant=mutant, weather=rough(profile) if is_rough else None)
    found = Collected("simulation", profile)
    for window, pairs in watcher.windows:
        found.add(window, pairs)
    return found


def _by_profile(profiles: Sequence[str], results: Iterable[Collected]) -> Iterator[Collected]:
    found = {profile: Collected("simulation", profile) for profile in profiles}
    for result in results:
        found[result.profile].merge(result)
    yield from found.values()
