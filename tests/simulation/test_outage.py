"""An hour in which the provider acts and answers 504, where each such answer costs a grant: counted."""

from datetime import timedelta
from pathlib import Path

import pytest

from tests.simulation import edges
from tests.simulation.episode import Episode
from tests.simulation.play import MACHINES, prepare
from tests.simulation.profiles import PROFILES
from tests.simulation.weather import Weather

HOUR = 3600.0
GRANTS = 400
IN_FLIGHT = 20  # the burst of a client at `immediate` and `family`


def canaries() -> int:
    """How many an hour holds: after 5 s, 10 s, 20 s and so on, then every 5 minutes."""
    at, wait, count = 0.0, 5.0, 0
    while at < HOUR:
        at, wait, count = at + wait, min(2 * wait, 300.0), count + 1
    return count


@pytest.mark.parametrize("profile", ["immediate", "family"])
def test_an_hour_of_504_after_commit_costs_at_most_what_was_under_way_and_one_grant_a_canary(
    tmp_path: Path, profile: str
) -> None:
    for machine in MACHINES:
        (tmp_path / machine).mkdir()
    episode = Episode("an hour of 504", PROFILES[profile], tmp_path, weather=Weather())
    world, network = episode.world, episode.network
    with edges.installed(episode.edges):
        try:
            prepare(episode, grants=GRANTS, workers=2, beats=2, clients=1)
            for client in episode.tables.clients.values():  # the worst case: no rate holds anything back
                client["rate_per_minute"], client["burst"] = None, IN_FLIGHT
            run_until(episode, 2 * HOUR)
            assert not episode.judge.losses
            # All are due at the worst moment: the very first second.
            for row in episode.tables.grants.values():
                soon = episode.tables.now + timedelta(seconds=1)
                episode.tables.change(row, due_at=min(row["due_at"], soon))
            begun, network.outage = len(network.sent), "http_504_after"
            run_until(episode, world.seconds + HOUR)
            sent = network.sent[begun:]
            network.outage = ""
            run_until(episode, world.seconds + 4 * HOUR)
            episode.judge.count_losses()
        finally:
            episode.end()
    struck = {each.consent for each in sent}
    assert canaries() - 1 <= len(struck) <= IN_FLIGHT + canaries()
    # A grant whose answer was lost is lost, and no other; each once, and each is told.
    assert episode.judge.losses.total() == len(struck)


def run_until(episode: Episode, seconds: float) -> None:
    while episode.world.seconds < seconds and episode.world.step():
        pass
