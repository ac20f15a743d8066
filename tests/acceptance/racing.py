"""Revocations that race refreshes while workers are killed (-9): the provider says what still lives.

The test runs it with a few; with the numbers of the goal:

    python -m tests.acceptance.racing --revocations 200 --kills 20
    python -m tests.acceptance.racing --revocations 200 --kills 20 --lifetime 60     time to look at every predecessor
"""

import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click

from tests.acceptance.conftest import QUICK
from tests.acceptance.installation import Installation
from tests.acceptance.long_form import judged
from tests.acceptance.programs import Running
from tests.acceptance.providers import Simulated, simulated
from tests.polling import eventually
from worker.embedded.engines import Engines

LIFETIME = 8.0
# Where the old pair dies at once, an answer that dies with a worker takes the grant with it, whoever the client is.
UNSAVABLE = ("immediate", "family")
BY_EVIDENCE = """
    select r.ref, r.status, r.evidence, e.data -> 'because' as because from evergrant.revocations r
    left join lateral (
        select data from evergrant.events v where v.grant_id = r.grant_id and v.type = 'grant.revoked'
        order by v.id desc limit 1
    ) e on true
"""


@dataclass(frozen=True)
class RaceReport:
    """What the database says of the revocations, and the provider of their tokens."""

    seconds: float
    kills: int
    refreshes: int
    ends: dict[str, tuple[str, str | None, list[str] | None]]  # by ref: status, evidence, why it is no better
    living: dict[str, int]  # by revoked ref: how many of its pairs live
    received: list[str]  # revoked refs of which a pair lives that the database has known
    lost: list[str]
    rotation: str
    handed_out: set[str]
    sealed: int  # revoked grants of which a sealed token is left

    def faults(self) -> list[str]:
        """Name whatever is not as promised.

        A pair whose answer died with a worker is known to nobody: it may live, and then the end must not be verified.
        So with a predecessor that fell out, where access tokens of seconds leave no time to confirm any.
        """
        wrong = {ref: end for ref, end in self.ends.items() if end[0] != "done"}
        told = {"ever_in_doubt", "predecessors_dropped"}
        untold = [ref for ref in self.living if told.isdisjoint(self.ends[ref][2] or [])]
        checks = {
            f"not ended: {wrong}": wrong,
            f"alive, and nobody knows why: {untold}": untold,
            f"received, and alive: {self.received}": self.received,
            f"verified, and alive: {self.living}": [r for r in self.living if self.ends[r][1] == "verified"],
            f"lost: {self.lost[:5]}": self.lost and self.rotation not in UNSAVABLE,
            "an access token of a revoked grant is handed out": self.handed_out & self.ends.keys(),
            f"{self.sealed} revoked grants have sealed tokens": self.sealed,
        }
        return [fault for fault, seen in checks.items() if seen]

    def told(self) -> str:
        """In a few lines."""
        evidence = Counter(end[1] for end in self.ends.values())
        pairs = sum(self.living.values())
        because = Counter(why for ref in self.living for why in self.ends[ref][2] or [])
        return (
            f"{len(self.ends)} revocations beside {self.refreshes} refreshes in {self.seconds:.0f} s, {self.kills}"
            f" workers killed: {dict(evidence)}\nalive at the provider: {pairs} pairs of {len(self.living)} grants,"
            f" {dict(because)}; lost {len(self.lost)}"
        )


def race(installation: Installation, provider: Simulated, *, grants: int, revocations: int, kills: int) -> RaceReport:
    """Ask for revocations in as many waves as workers are killed, while everything is being refreshed."""
    begun = time.time()
    workers = [installation.worker(), installation.worker()]
    installation.beat()
    # They are to be revoked, not to be held.
    installation.register("app", [*provider.registration(), "--revocation-limit", "1000000"], provider.secret)
    installation.import_grants("app", provider.mint(grants, "app-"))
    eventually(lambda: len(provider.refreshes()) >= grants, timeout=90)
    refs = [f"app-{n}" for n in range(1, revocations + 1)]
    for wave in range(kills):
        _ask(installation, refs[wave::kills])
        _kill_one(installation, workers, provider)
    eventually(lambda: _open(installation) == 0, timeout=180, every=1)
    return _report(installation, provider, refs, kills=kills, seconds=time.time() - begun)


def _ask(installation: Installation, refs: Sequence[str]) -> None:
    for ref in refs:
        installation.rows("select evergrant.request_revocation(%s, reason => 'race')", [ref])


def _kill_one(installation: Installation, workers: list[Running], provider: Simulated) -> None:
    """Kill the older worker as soon as the provider has been asked once more, and let another take its place."""
    before = provider.control.summary("app")["requests"]["total"]
    eventually(lambda: provider.control.summary("app")["requests"]["total"] > before, timeout=60, every=0.01)
    workers.pop(0).kill()
    workers.append(installation.worker())


def _open(installation: Installation) -> int:
    (row,) = installation.rows("select count(*) as n from evergrant.revocations where status = 'queued'")
    return int(row["n"])


def _report(
    installation: Installation, provider: Simulated, refs: Sequence[str], *, kills: int, seconds: float
) -> RaceReport:
    living = {ref: provider.alive(ref) for ref in refs}
    (sealed,) = installation.rows(
        """select count(*) as n from evergrant.grants g where g.status = 'revoked' and (
            g.sealed_refresh_token is not null or g.sealed_access_token is not null or exists (
                select from evergrant.former_tokens t where t.grant_id = g.id and t.sealed_refresh_token <> ''))"""
    )
    return RaceReport(
        seconds=seconds,
        kills=kills,
        refreshes=sum(map(len, provider.refreshes().values())),
        ends={row["ref"]: (row["status"], row["evidence"], row["because"]) for row in installation.rows(BY_EVIDENCE)},
        living={ref: count for ref, count in living.items() if count},
        received=_received(installation, provider, living),
        lost=provider.lost(),
        rotation=provider.rotation,
        handed_out=set(installation.handed_out()),
        sealed=sealed["n"],
    )


def _received(installation: Installation, provider: Simulated, refs: Iterable[str]) -> list[str]:
    """Those refs of which a refresh token lives whose fingerprint the database has."""
    rows = installation.rows(
        """select refresh_fingerprint as it from evergrant.grants where refresh_fingerprint is not null
        union select refresh_fingerprint from evergrant.former_tokens"""
    )
    known = {bytes(row["it"]) for row in rows}
    return [
        ref
        for ref in refs
        for token in provider.living_tokens(ref)
        if not known.isdisjoint(installation.vault.fingerprints(token))
    ]


@click.command()
@click.option("--revocations", default=200, show_default=True)
@click.option("--kills", default=20, show_default=True, help="Of workers, spread over the revocations.")
@click.option("--grants", default=300, show_default=True, help="All of them are refreshed meanwhile.")
@click.option("--profile", default="on_use", show_default=True, help="Of the simulator.")
@click.option("--lifetime", default=LIFETIME, show_default=True, help="Of access tokens, in seconds.")
def main(*, revocations: int, kills: int, grants: int, profile: str, lifetime: float) -> None:
    """Let revocations race refreshes under kill -9, and let the provider judge."""
    folder = Path(tempfile.mkdtemp(prefix="evergrant-race-"))
    click.echo(f"logs: {folder}")
    with ExitStack() as running:
        engines = running.enter_context(Engines(folder / "engines"))
        provider = running.enter_context(simulated(profile, lifetime=lifetime))
        urls = {"database_url": engines.database_url or "", "broker_url": engines.broker_url or ""}
        installation = Installation.made(folder / "installation", **urls, **QUICK)
        running.callback(installation.close)
        report = race(installation, provider, grants=grants, revocations=revocations, kills=kills)
    judged(report.told(), report.faults())


if __name__ == "__main__":
    main()
