"""Dialects: whatever a provider's own words are, nobody who lives may notice that others die, or that all are refused.

Each answer has two fleets and a provider of its own: of one a quarter dies at one instant, of the other one by one. An
answer that means something else is said to everybody for a while, and then no more. The provider is the simulator, or
django-oauth-toolkit, which tells of deaths alone: it refuses by its own judgement, and only the words are changed.

    python -m tests.acceptance.dialects                                  every answer that is known: some 20 minutes
    python -m tests.acceptance.dialects --means dead --only google --only invented --minutes 2
    python -m tests.acceptance.dialects --means ours --only google --outage-minutes 5 [--by-hand]
    python -m tests.acceptance.dialects --provider django
"""

import json
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click

from simulator.control import SimulatorControl
from simulator.launch import simulator_thread
from tests.acceptance.installation import Installation
from tests.acceptance.keeping import consents
from tests.acceptance.long_form import judged, machine_for
from tests.acceptance.providers import Simulated, Toolkit, toolkit
from tests.polling import eventually
from worker.embedded.engines import Engines

SAMPLES = Path(__file__).parents[1] / "dialects" / "answers.jsonl"
SHARE_OF_LIFE = 0.1  # for which a living grant may be stale
MENDED_WITHIN = 30.0  # seconds, until all are fresh once everybody is answered again
MOST_ASKED = 6  # a dead grant, in a few lives: at once, and 1/4, 1/2, 1, 2 and 4 lives later
FLEETS_AT_ONCE = 110
AT_THE_TOOLKIT = 20  # fleets: it is one process, and writes five rows a refresh
COMMANDS_AT_ONCE = 3
LONGEST_PAUSE = 300.0  # seconds, between two canaries
DEAD = ("dead", "consent")
WAYS = ("at-once", "one-by-one")
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
    rows = [json.loads(line) for line in SAMPLES.read_text(encoding="utf-8").splitlines() if line.strip()]
    found: dict[tuple[str, int, str], Words] = {}
    numbers: Counter[str] = Counter()
    for row in rows:
        if row["to"] != to or row["means"] not in UNDERSTOOD:
            continue
        body = row["body"] if isinstance(row["body"], str) else json.dumps(row["body"], ensure_ascii=False)
        provider = row["provider"] or "invented"
        key = (row["means"], row["status"], body)
        if key not in found:
            numbers[provider] += 1
            found[key] = Words(f"{provider}-{numbers[provider]}", row["means"], row["status"], body)
    return list(found.values())


@dataclass
class Fleet:
    """The grants of one client at one provider, and what was seen of them."""

    name: str
    words: Words
    provider: Simulated | Toolkit
    refs: list[str]
    gone: dict[str, float] = field(default_factory=dict)  # when each died
    stale_since: dict[str, float] = field(default_factory=dict)
    stale_for: dict[str, float] = field(default_factory=dict)  # the longest, of those that live
    mended_after: float | None = None
    asked_in_vain: Counter[str] = field(default_factory=Counter)
    asked_in_trouble: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    @property
    def dies(self) -> bool:
        """Whether its words tell of a death."""
        return self.words.means in DEAD

    def look(self, handed_out: set[str], now: float) -> None:
        """Note who is stale."""
        for ref in self.refs:
            if ref in handed_out or ref in self.gone:
                self.stale_since.pop(ref, None)
            else:
                since = self.stale_since.setdefault(ref, now)
                self.stale_for[ref] = max(now - since, self.stale_for.get(ref, 0.0))

    def faults(self, *, lifetime: float, mended_within: float = MENDED_WITHIN) -> list[str]:
        """Name whatever is not as promised."""
        checks = self._of_deaths(lifetime) if self.dies else self._of_trouble(mended_within)
        return [f"{self.name}: {fault}: {self.told()}" for fault, seen in checks.items() if seen]

    def _of_deaths(self, lifetime: float) -> dict[str, bool]:
        living = len(self.refs) - len(self.gone)
        return {
            "living grants went stale": max(self.stale_for.values(), default=0) > SHARE_OF_LIFE * lifetime,
            "dead grants were asked too often": max(self.asked_in_vain.values(), default=0) > MOST_ASKED,
            "a living grant was declared dead": self.statuses.get("active", 0) < living,
        }

    def _of_trouble(self, mended_within: float) -> dict[str, bool]:
        return {
            "somebody was blamed": self.statuses != {"active": len(self.refs)} or bool(self.reasons),
            "not all were fresh in time": self.mended_after is None or self.mended_after > mended_within,
        }

    def told(self) -> str:
        """In a line."""
        stale = max(self.stale_for.values(), default=0)
        return (
            f"{self.words.means} {self.words.said[:80]!r}: stale {stale:.1f} s; in vain"
            f" {max(self.asked_in_vain.values(), default=0)}; mended {self.mended_after}; asked in trouble"
            f" {self.asked_in_trouble}; {self.statuses} {self.reasons}"
        )


@dataclass(frozen=True)
class Course:
    """How a run goes; all in seconds."""

    lifetime: float
    grants: int
    watched: float  # from the first death, or from the mending of a trouble at most
    trouble: float  # for which everybody is refused
    by_hand: bool = False  # it ends with a new secret of ours, and not by itself
    each_way: bool = True  # of dying, for each answer; else the ways take turns

    @property
    def mended_within(self) -> float:
        """Until all are fresh: what ends by itself is noticed by the next canary, whose wait has doubled up to then."""
        return (
            MENDED_WITHIN if self.by_hand else max(MENDED_WITHIN, min(self.trouble, LONGEST_PAUSE) + MENDED_WITHIN / 2)
        )


def run(
    installation: Installation, words: Sequence[Words], course: Course, *, at: Toolkit | None = None
) -> list[Fleet]:
    """Take over the fleets, let happen what the words tell, and look; worker and beat run already.

    `at`: the toolkit that they are at; each has a simulator of its own without.
    """
    with ExitStack() as running:
        speaking = partial(_simulated, running) if at is None else partial(_at_toolkit, at)
        begun = [_begun(speaking, *each, course) for each in _fates(words, course)]
        with ThreadPoolExecutor(COMMANDS_AT_ONCE) as commands:
            fleets = list(commands.map(partial(_taken_over, installation), begun))
        eventually(lambda: _all_refreshed(fleets), timeout=60 + 3 * course.lifetime, every=1)
        _let_happen(installation, fleets, course)
        for fleet in fleets:
            _ask_provider(fleet)
            fleet.statuses = installation.statuses(fleet.name)
            fleet.reasons = _letters(installation, fleet)
        return fleets


def _fates(words: Sequence[Words], course: Course) -> list[tuple[Words, str]]:
    """Each answer with how those die whom it tells of; what tells of no death befalls all."""
    dying = [each for each in words if each.means in DEAD]
    ways = [(each, how) for n, each in enumerate(dying) for how in (WAYS if course.each_way else [WAYS[n % len(WAYS)]])]
    return [*ways, *((each, "all") for each in words if each.means not in DEAD)]


@dataclass(frozen=True)
class _Begun:
    """A provider that runs, with the consents that a fleet will be."""

    words: Words
    provider: Simulated | Toolkit
    rows: list[dict[str, Any]]


Speaking = Callable[[str, Words, Course], Simulated | Toolkit]
"""Makes a provider whose client has this id, and which speaks in these words."""


def _simulated(running: ExitStack, client_id: str, words: Words, course: Course) -> Simulated:
    habits = {"says_dead": words.said} if words.means in DEAD else {}
    options: dict[str, Any] = {"profile": "immediate", "lifetime": timedelta(seconds=course.lifetime)}
    control = running.enter_context(
        simulator_thread(dialect="doorkeeper", habits=habits, seed=hash(client_id) % 2**31, **options)
    )
    return Simulated(control, "immediate", client_id=client_id)


def _at_toolkit(server: Toolkit, client_id: str, words: Words, _: Course) -> Toolkit:
    return server.another(client_id, says_dead=(words.status, words.body))


def _begun(speaking: Speaking, words: Words, how: str, course: Course) -> _Begun:
    name = f"{words.name}.{how}"
    provider = speaking(name, words, course)
    # Without access tokens, which might end before all are taken over: each is renewed as soon as it is.
    return _Begun(words, provider, consents(provider.mint(course.grants, f"{name}.")))


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
    for control, fleet in _in_trouble(fleets):
        told = {"status": fleet.words.status, "body": fleet.words.body}
        control.add_fault("status", where="token", when="before", **told)
    while (passed := time.monotonic() - begun) < max(course.watched, course.trouble + course.mended_within + 5):
        while deaths and deaths[0][0] <= passed:
            _, fleet, ref = deaths.pop(0)
            fleet.gone[ref] = time.time()
            fleet.provider.end_by_user([ref])
        if mended_at is None and passed >= course.trouble:
            mended_at = passed
            _mend(installation, fleets, by_hand=course.by_hand)
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


def _mend(installation: Installation, fleets: Sequence[Fleet], *, by_hand: bool) -> None:
    for control, fleet in _in_trouble(fleets):
        fleet.asked_in_trouble = len(fleet.provider.asked()) - len(fleet.refs)  # each was refreshed once before
        control.clear_faults()
        if by_hand:
            secret = fleet.provider.secret
            installation.command("clients", "set-secret", fleet.name, "--client-secret-file", "-", stdin=secret)


def _in_trouble(fleets: Sequence[Fleet]) -> Iterator[tuple[SimulatorControl, Fleet]]:
    for fleet in fleets:
        if not fleet.dies:
            assert isinstance(fleet.provider, Simulated), "the toolkit tells of deaths alone"
            yield fleet.provider.control, fleet


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


@contextmanager
def _toolkit(lifetime: float) -> Iterator[Toolkit]:
    """Run django-oauth-toolkit on a PostgreSQL of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="evergrant-toolkit-") as folder,
        Engines(Path(folder) / "toolkit", valkey=False) as engines,
        toolkit(Path(folder), database_url=engines.database_url or "", lifetime=lifetime) as server,
    ):
        yield server


@click.command()
@click.option("--means", multiple=True, help="Only answers that mean this; may be repeated.")
@click.option("--only", multiple=True, metavar="PROVIDER", help="Only answers of this provider; `invented`: of nobody.")
@click.option("--grants", default=20, show_default=True, help="Grants of each fleet.")
@click.option("--lifetime", default=30.0, show_default=True, help="Seconds that an access token lives.")
@click.option("--minutes", default=2.0, show_default=True, help="For how long each is watched.")
@click.option(
    "--outage-minutes", default=1 / 3, show_default="a third", help="For how long everybody is refused, where all are."
)
@click.option("--by-hand", is_flag=True, help="It ends with `clients set-secret`, and not by itself.")
@click.option("--provider", type=click.Choice(["simulator", "django"]), default="simulator", show_default=True)
def main(
    *,
    means: tuple[str, ...],
    only: tuple[str, ...],
    grants: int,
    lifetime: float,
    minutes: float,
    outage_minutes: float,
    by_hand: bool,
    provider: str,
) -> None:
    """Try every answer that is known against an installation of its own."""
    at_toolkit = provider == "django"
    words = chosen(means or (DEAD if at_toolkit else ()), only)
    course = Course(lifetime, grants, watched=60 * minutes, trouble=60 * outage_minutes, by_hand=by_hand)
    faults: list[str] = []
    for part in _parts(words, (AT_THE_TOOLKIT if at_toolkit else FLEETS_AT_ONCE) // 2):
        with machine_for("dialects") as machine, _toolkit(lifetime) if at_toolkit else nullcontext() as server:
            for fleet in run(machine, part, course, at=server):
                click.echo(f"{fleet.name}: {fleet.told()}")
                faults += fleet.faults(lifetime=lifetime, mended_within=course.mended_within)
    judged(f"{len(words)} answers, {len(faults)} faults", faults)


if __name__ == "__main__":
    main()
