"""How soon revocations end while refreshes are due, at a client's rate: neither may starve the other.

    python -m bench.revocations                        10 000 revocations at 20 a second beside 37 refreshes a second
    python -m bench.revocations --revocations 1000 --runs 3
    python -m bench.revocations --at-once              all of them in one transaction: more than the rate allows

A revocation takes two requests (revoke, look), so a rate of N a minute ends N / 120 a second at most, less what is
refreshed meanwhile: 10 000 that are asked for at once cannot be done in half a minute. So they are asked for at a pace.
Everything is on this machine: PostgreSQL, Valkey, beat, the workers and the simulated provider over HTTP.
"""

import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import psycopg

from bench import machine, report
from tests.acceptance.installation import Installation
from tests.acceptance.providers import Simulated, simulated
from tests.polling import eventually
from worker.embedded.engines import Engines

LATENCY = """
    select count(*) as n, count(*) filter (where status = 'done') as done,
        count(*) filter (where evidence = 'verified') as verified,
        extract(epoch from max(done_at) - min(requested_at)) as seconds,
        percentile_cont(array[0.5, 0.99, 1])
            within group (order by extract(epoch from done_at - requested_at)) as latency
    from evergrant.revocations
"""
LATE = """
    select count(*) as n from evergrant.grants g where g.status = 'active' and g.access_expires_at < clock_timestamp()
        and not exists (select from evergrant.revocations r where r.grant_id = g.id)
"""


@dataclass(frozen=True)
class Figures:
    """What was measured."""

    revocations: dict[str, Any]
    late: list[int]  # each second: grants whose access token had ended, of those that nobody revoked
    refreshes: int
    requests: dict[str, Any]
    rate: int
    alive: int

    def named(self) -> dict[str, float]:
        """Each by its name."""
        found = self.revocations
        seconds = float(found["seconds"])
        middle, most, last = (float(each) for each in found["latency"])
        return {
            "asked": found["n"],
            "done": found["done"],
            "verified": found["verified"],
            "seconds": seconds,
            "revocations_per_second": found["done"] / seconds,
            "commit_to_done_p50_seconds": middle,
            "commit_to_done_p99_seconds": most,
            "commit_to_done_most_seconds": last,
            "refreshes_per_second": self.refreshes / seconds,
            "late_tokens_most_at_one_time": max(self.late, default=0),
            "most_requests_in_60_seconds": self.requests["most_in_60_s"],
            "rate_per_minute": self.rate,
            "pairs_alive_of_200_revoked": self.alive,
        }


@click.command()
@click.option("--revocations", default=10_000, show_default=True)
@click.option("--pace", default=20.0, show_default=True, help="Revocations a second that are asked for.")
@click.option("--at-once", is_flag=True, help="Ask for all of them in one transaction instead.")
@click.option("--beside", default=1500, show_default=True, help="Grants that are kept alive meanwhile.")
@click.option("--lifetime", default=60.0, show_default=True, help="Of their access tokens, in seconds.")
@click.option("--rate", default=6000, show_default=True, help="The client's requests a minute.")
@click.option("--workers", default=1, show_default=True)
@click.option("--runs", default=1, show_default=True, help="Each on engines of its own.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of results.")
def main(
    *,
    revocations: int,
    pace: float,
    at_once: bool,
    beside: int,
    lifetime: float,
    rate: int,
    workers: int,
    runs: int,
    out: Path | None,
) -> None:
    """Revoke grants while others are refreshed, and see how soon they were dead."""
    begun = machine.described()
    known = {"pace": None if at_once else pace, "beside": beside, "lifetime": lifetime}

    def once() -> dict[str, float]:
        steady = None if at_once else pace
        return _round(
            revocations=revocations, pace=steady, beside=beside, lifetime=lifetime, rate=rate, workers=workers
        )

    rounds = [once() for _ in range(runs)]
    measured = {name: report.spread(each[name] for each in rounds) for name in rounds[0]}
    report.table([{"figure": name, **values} for name, values in measured.items()])
    report.save("revocations", {**known, "load": machine.load(), **measured}, begun=begun, folder=out)


def _round(
    *, revocations: int, pace: float | None, beside: int, lifetime: float, rate: int, workers: int
) -> dict[str, float]:
    folder = Path(tempfile.mkdtemp(prefix="evergrant-bench-"))
    click.echo(f"logs: {folder}")
    with ExitStack() as running:
        engines = running.enter_context(Engines(folder / "engines"))
        provider = running.enter_context(simulated("on_use", lifetime=lifetime, rate=rate))
        urls = {"database_url": engines.database_url or "", "broker_url": engines.broker_url or ""}
        installation = Installation.made(folder / "installation", **urls)
        running.callback(installation.close)
        limits = ["--rate", f"{rate}/minute", "--revocation-limit", "1000000"]
        installation.register("app", [*provider.registration(), *limits], provider.secret)
        # Those that will be revoked live long, so that they need no refresh before.
        leaving = provider.control.mint("app", revocations, ref_prefix="leaving-", orgs=["org-1"], lifetime=86_400)
        installation.import_grants("app", leaving)
        for _ in range(workers):
            installation.worker()
        installation.beat()
        installation.import_grants("app", provider.mint(beside, "kept-"))
        refs = [row["ref"] for row in leaving]
        return _measured(installation, provider, refs, pace=pace, rate=rate).named()


def _measured(
    installation: Installation, provider: Simulated, refs: list[str], *, pace: float | None, rate: int
) -> Figures:
    eventually(provider.refreshes, timeout=120, every=1)
    before = len(provider.asked())
    late: list[int] = []
    with psycopg.connect(installation.database_url, autocommit=True) as connection:
        if pace is None:
            connection.execute(
                "select evergrant.request_revocation(ref) from unnest(%s::text[]) as asked (ref)", [refs]
            )
        else:
            _ask(connection, refs, pace, late)
        while _open(connection):
            late.append(_number(connection, LATE))
            time.sleep(1)
    (found,) = installation.rows(LATENCY)
    refreshes = sum(request["issued"] is not None for request in provider.asked()[before:])
    requests = provider.control.summary("app")["requests"]
    return Figures(found, late, refreshes, requests, rate, alive=sum(map(provider.alive, refs[:200])))


def _ask(connection: psycopg.Connection, refs: list[str], pace: float, late: list[int]) -> None:
    """Ask for one after the other, each in a transaction of its own, as applications do."""
    begun = time.monotonic()
    for number, ref in enumerate(refs):
        time.sleep(max(0.0, begun + number / pace - time.monotonic()))
        connection.execute("select evergrant.request_revocation(%s)", [ref])
        if number % max(1, round(pace)) == 0:
            late.append(_number(connection, LATE))


def _open(connection: psycopg.Connection) -> bool:
    return _number(connection, "select count(*) as n from evergrant.revocations where status = 'queued'") > 0


def _number(connection: psycopg.Connection, query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    return int(row[0]) if row else 0


if __name__ == "__main__":
    main()
