"""Keeping grants alive: import them into a running installation, use them all the while, and ask the provider.

The tests run it for some lives of a few grants, `soak.py` with larger numbers for as long as one likes.
"""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from operator import attrgetter
from statistics import median
from typing import Any

import psycopg

from tests.acceptance.installation import Installation
from tests.acceptance.one_machine import OneMachine
from tests.acceptance.programs import Running
from tests.acceptance.providers import Provider
from tests.acceptance.sampling import Sampler, Samples
from tests.polling import eventually

EARLIEST = 0.5
"""A grant is renewed at 2/3 ± 1/10 of its life: never before a half, and never after its end."""


@dataclass(frozen=True)
class Report:
    """What the provider, the database and the applications saw."""

    grants: int
    lifetime: float
    statuses: dict[str, int]
    lost: list[str]
    doubted: set[str] = field(repr=False)
    """What is told to have been in flight when an answer was lost: unsavable at `immediate` and `family` alone."""
    presented_twice: int
    refreshes: int
    waits: list[float] = field(repr=False)
    """The seconds between two token sets of a grant, each."""
    answers: Counter[str]
    refused: list[dict[str, Any]]
    least_fresh: int
    """The fewest access tokens that were handed out at one time."""
    fresh_at_the_end: int
    errors: list[str] = field(repr=False)

    def faults(self, *, disturbed: bool = False) -> list[str]:
        """Name whatever is not as promised; `disturbed`: tokens may have been sent twice, and lapsed for a while."""
        excused = set(self.lost) & self.doubted if disturbed else set()
        lost = [ref for ref in self.lost if ref not in excused]
        found = []
        if self.statuses.get("active", 0) + len(excused) < self.grants or sum(self.statuses.values()) != self.grants:
            found.append(f"not every grant is active: {self.statuses}")
        if lost:
            found.append(f"lost: {lost[:5]}")
        if self.refused:
            found.append(f"{len(self.refused)} access tokens were refused: {self.refused[:5]}")
        if self.fresh_at_the_end + len(excused) < self.grants:
            found.append(f"only {self.fresh_at_the_end} access tokens are fresh at the end")
        if not self.answers["200"]:
            found.append(f"no access token was served: {dict(self.answers)}")
        return found if disturbed else found + self._undisturbed_faults()

    def _undisturbed_faults(self) -> list[str]:
        found = []
        if self.presented_twice:
            found.append(f"{self.presented_twice} refresh tokens were presented twice")
        if self.least_fresh < self.grants:
            found.append(f"only {self.least_fresh} of {self.grants} access tokens were fresh at one time")
        # The middle: one request that arrived late makes the next one look early, and nobody refreshed too soon.
        if median(self.waits) < EARLIEST * self.lifetime or max(self.waits) > self.lifetime:
            found.append(f"renewed after {min(self.waits):.1f} to {max(self.waits):.1f} s")
        if self.errors:
            found.append(f"errors were logged: {self.errors[:3]}")
        return found

    def told(self) -> str:
        """In a few lines."""
        waits = sorted(self.waits)
        return (
            f"{self.grants} grants, tokens of {self.lifetime:g} s: {self.statuses}; lost {len(self.lost)}, "
            f"{len(set(self.lost) & self.doubted)} of them with an answer that a killed worker never received\n"
            f"refreshes {self.refreshes}, the next one after {waits[len(waits) // 2]:.1f} s in the middle"
            f" ({waits[0]:.1f} to {waits[-1]:.1f} s)\n"
            f"refresh tokens presented twice {self.presented_twice}; fresh at the least {self.least_fresh}\n"
            f"answers to sampled access tokens {dict(self.answers)}; refused {len(self.refused)}"
        )


@dataclass(frozen=True)
class Disturbance:
    """Something that happens `at` seconds after the import."""

    at: float
    name: str
    act: Callable[[], None]


def keep(
    installation: Installation,
    providers: Mapping[str, Provider],
    *,
    grants: int,
    lifetime: float,
    seconds: float,
    disturbances: Sequence[Disturbance] = (),
) -> dict[str, Report]:
    """Keep `grants` of a client at each provider alive for `seconds`; returns a report for each client.

    Worker and beat run already. A client's name is its key in `providers`.
    """
    minted_at = {name: _begin(installation, name, provider, grants) for name, provider in providers.items()}
    samplers = {name: Sampler(installation, name, provider) for name, provider in providers.items()}
    with ExitStack() as sampling:
        for sampler in samplers.values():
            sampling.enter_context(sampler)
        least_fresh = _watch(
            installation, seconds, sorted(disturbances, key=attrgetter("at")), dict.fromkeys(providers, grants)
        )
    fresh_at_the_end = _wait_for_all(
        installation, dict.fromkeys(providers, grants), seconds=6 * lifetime if disturbances else 5
    )
    errors = installation.logged('"level": "error"', '"level": "critical"', "Traceback")
    return {
        name: _report(installation, name, provider, samplers[name].samples, minted_at[name])(
            grants=grants,
            lifetime=lifetime,
            least_fresh=least_fresh[name],
            fresh_at_the_end=fresh_at_the_end[name],
            errors=errors,
        )
        for name, provider in providers.items()
    }


def _begin(installation: Installation, name: str, provider: Provider, grants: int) -> float:
    """Register a client and take over its grants; returns when they were minted."""
    installation.register(name, provider.registration(), provider.secret)
    minted_at = time.time()
    installation.import_grants(name, provider.mint(grants, f"{name}-"))
    return minted_at


def _report(
    installation: Installation, name: str, provider: Provider, samples: Samples, minted_at: float
) -> Callable[..., Report]:
    """What is known of one client."""
    refreshes = provider.refreshes()
    return partial(
        Report,
        statuses=installation.statuses(name),
        lost=provider.lost(),
        doubted=_doubted(installation, name) if provider.rotation in ("immediate", "family") else set(),
        presented_twice=provider.presented_twice(),
        refreshes=sum(map(len, refreshes.values())),
        waits=[later - earlier for times in refreshes.values() for earlier, later in pairwise([minted_at, *times])],
        answers=samples.answers,
        refused=samples.refused,
    )


def _doubted(installation: Installation, client: str) -> set[str]:
    rows = installation.rows(
        "select g.ref from evergrant.grants g join evergrant.clients c on c.id = g.client_id "
        "where c.name = %s and (g.doubt_since is not null or g.reason = 'response_lost')",
        [client],
    )
    return {row["ref"] for row in rows}


def _watch(
    installation: Installation, seconds: float, disturbances: list[Disturbance], least: dict[str, int]
) -> dict[str, int]:
    """Let time pass and disturb; returns the fewest access tokens that were handed out at one time, by client."""
    begun = time.monotonic()
    while (passed := time.monotonic() - begun) < seconds:
        if disturbances and passed >= disturbances[0].at:
            disturbances.pop(0).act()
        try:
            fresh = installation.fresh()
        except psycopg.OperationalError:
            fresh = Counter()
        least = {name: min(count, fresh[name]) for name, count in least.items()}
        time.sleep(0.25)
    return least


def _wait_for_all(installation: Installation, everything: dict[str, int], *, seconds: float) -> Counter[str]:
    """Wait until every access token is handed out, or the time is over; returns how many are, by client."""
    with suppress(AssertionError):  # the report tells what is missing
        eventually(lambda: installation.fresh() == everything, timeout=seconds)
    return installation.fresh()


def begin(
    installation: Installation,
    provider: Provider,
    *,
    grants: int,
    options: Sequence[str] = (),
    renewed_at_once: bool = False,
) -> Running:
    """Start a worker and a beat, and take over grants of one client, `app`; returns the worker.

    `renewed_at_once`: without access tokens, so that nobody waits two thirds of a life for the first renewals.
    """
    worker = installation.worker()
    installation.beat()
    installation.register("app", [*provider.registration(), *options], provider.secret)
    rows = provider.mint(grants, "app-")
    installation.import_grants("app", consents(rows) if renewed_at_once else rows)
    return worker


def consents(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same rows without access tokens, so that all are due as soon as they are taken over."""
    return [{name: row[name] for name in ("ref", "refresh_token", "labels") if name in row} for row in rows]


def due_now(provider: Provider, count: int) -> list[dict[str, Any]]:
    """New consents without an access token, so that all are due as soon as they are taken over."""
    return [{"ref": row["ref"], "refresh_token": row["refresh_token"]} for row in provider.mint(count, "due-")]


def trouble(machine: OneMachine, *, first: float, last: float, rounds: int = 1) -> list[Disturbance]:
    """A killed worker, a broker without its data, a database that stops at once, and the other worker killed."""
    acts = [
        ("kill -9 of a worker", lambda: machine.kill_part("worker-1")),
        ("Valkey loses its data", machine.flush_broker),
        ("PostgreSQL stops at once", machine.stop_database_at_once),
        ("kill -9 of the other worker", lambda: machine.kill_part("worker-2")),
    ] * rounds
    every = (last - first) / (len(acts) - 1)
    return [Disturbance(first + every * n, name, act) for n, (name, act) in enumerate(acts)]


def most_within(times: Sequence[float], seconds: float) -> int:
    """The most events within any so many seconds."""
    ordered = sorted(times)
    return max((bisect_left(ordered, first + seconds) - n for n, first in enumerate(ordered)), default=0)
