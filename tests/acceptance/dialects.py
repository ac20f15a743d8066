"""Dialects: whatever a provider's own words are, nobody who lives may notice that others die, or that all are refused.

Each answer has two fleets and a provider of its own: of one a quarter dies at one instant, of the other one by one. An
answer that means something else is said to everybody for a while, and then no more.

    python -m tests.acceptance.dialects                                  every answer that is known: some 20 minutes
    python -m tests.acceptance.dialects --means dead --only google --only invented --minutes 2
"""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click

from simulator.launch import simulator_thread
from tests.acceptance.installation import Installation
from tests.acceptance.long_form import judged, machine_for
from tests.acceptance.providers import Simulated
from tests.polling import eventually

SAMPLES = Path(__file__).parents[1] / "dialects" / "answers.jsonl"
SHARE_OF_LIFE = 0.1  # for which a living grant may be stale
MENDED_WITHIN = 30.0  # seconds, until all are fresh once everybody is answered again
MOST_ASKED = 6  # a dead grant, in a few lives: at once, and 1/4, 1/2, 1, 2 and 4 lives later
FLEETS_AT_ONCE = 110
COMMANDS_AT_ONCE = 3
DEAD = ("dead", "consent")
UNDERSTOOD = (*DEAD, "ours", "throttled", "ill", "race")  # what a refresh may be told that is no success


@dataclass(frozen=True)
class Words:
    """An answer in a provider's own words, and what it means."""

    name: str
    means: str
    status: int
    body: str

    @property
    def said(self) -> str:
        """As the simulator is told to say it."""
        return f"{self.status} {self.body}"


def known(*, to: str = "refresh") -> list[Words]:
    """Every answer of the samples to such a request, each once."""
    minted = provider.mint(course.grants, f"{name}.")
    rows = [{key: value for key, value in row.items() if key in CONSENT} for row in minted]
    return _Begun(words, provider, rows)


def _taken_over(installation: Installation, begun: _Begun) -> Fleet:
    name = begun.provider.client_id
    installation.register(name, begun.provider.registration(), begun.provider.secret)
    installation.import_grants(name, begun.rows)
    return Fleet(name, begun.words, begun.provider, [row["ref"] for row in begun.rows])


def _all_refreshed(fleets: Sequence[Fleet]) -> bool:
    """Whether each client has refreshed all of its grants once: its credentials are proven, its rhythm is even."""
    return all(len(fleet.provider.refreshes()) == len(fleet.refs) for fleet in fleets)


def _let_happen(installation: Installation, fleets: Sequence[Fleet], course: Course) -> None:
    begun = time.monotonic()
    deaths = sorted(_deaths(fleets, course), key=lambda death: death[0])
    mended_at: float | None = None
    for fleet in fleets:
        if not fleet.dies:
            told = {"status": fleet.words.status, "body": fleet.words.body}
            fleet.provider.control.add_fault("status", where="token", when="before", **told)
    while (passed := time.monotonic() - begun) < max(course.watched, course.trouble + MENDED_WITHIN + 5):
        while deaths and deaths[0][0] <= passed:
            _, fleet, ref = deaths.pop(0)
            fleet.gone[ref] = time.time()
            fleet.provider.end_by_user([ref])
        if mended_at is None and passed >= course.trouble:
            mended_at = passed
            _mend(fleets)
        handed_out = _handed_out(installation)
        for fleet in fleets:
            fleet.look(handed_out[fleet.name], time.monotonic())
            if mended_at is not None and fleet.mended_after is None and not fleet.stale_since:
                fleet.mended_after = round(passed - mended_at, 1)
        time.sleep(0.25)


def _deaths(fleets: Sequence[Fleet], course: Course) -> Iterator[tuple[float, Fleet, str]]:
    """When who dies: a quarter of a fleet at one instant, or spread over half of the time."""
    for fleet in fleets:
        if fleet.dies:
            gone = fleet.refs[::4]
            pace = 0.0 if fleet.name.endswith("at-once") else course.watched / 2 / len(gone)
            yield from ((n * pace, fleet, ref) for n, ref in enumerate(gone))


def _mend(fleets: Sequence[Fleet]) -> None:
    for fleet in fleets:
        if not fleet.dies:
            fleet.asked_in_trouble = len(fleet.provider.asked())
            fleet.provider.control.clear_faults()


def _handed_out(installation: Installation) -> dict[str, set[str]]:
    rows = installation.rows("select client, ref from evergrant.access_tokens where sealed_access_token is not null")
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        found[row["client"]].add(row["ref"])
    return found


def _ask_provider(fleet: Fleet) -> None:
    fleet.asked_in_vain.update(
        request["ref"]
        for request in fleet.provider.asked()
        if request["ref"] in fleet.gone and request["at"] > fleet.gone[request["ref"]]
    )


def _letters(installation: Installation, fleet: Fleet) -> list[str]:
    statement = """
        select d.cause from evergrant.dead_letters d join evergrant.clients c on c.id = d.client_id
        where c.name = %s and d.resolved_at is null
    """
    return [row["cause"] for row in installation.rows(statement, [fleet.name])]


def chosen(means: Sequence[str], only: Sequence[str]) -> list[Words]:
    """The answers that are wanted."""
    return [
        each
        for each in known()
        if (not means or each.means in means) and (not only or each.name.rpartition("-")[0] in only)
    ]


def _parts(words: Sequence[Words], size: int) -> Iterator[Sequence[Words]]:
    return (words[first : first + size] for first in range(0, len(words), size))


@click.command()
@click.option("--means", multiple=True, help="Only answers that mean this; may be repeated.")
@click.option("--only", multiple=True, metavar="PROVIDER", help="Only answers of this provider; `invented`: of nobody.")
@click.option("--grants", default=20, show_default=True, help="Grants of each fleet.")
@click.option("--lifetime", default=30.0, show_default=True, help="Seconds that an access token lives.")
@click.option("--minutes", default=2.0, show_default=True, help="For how long each is watched.")
def main(*, means: tuple[str, ...], only: tuple[str, ...], grants: int, lifetime: float, minutes: float) -> None:
    """Try every answer that is known against an installation of its own."""
    words = chosen(means, only)
    course = Course(lifetime, grants, watched=60 * minutes, trouble=20)
    faults: list[str] = []
    for part in _parts(words, FLEETS_AT_ONCE // 2):
        with machine_for("dialects") as machine:
            for fleet in run(machine, part, course):
                click.echo(f"{fleet.name}: {fleet.told()}")
                faults += fleet.faults(lifetime=lifetime)
    judged(f"{len(words)} answers, {len(faults)} faults", faults)


if __name__ == "__main__":
    main()
