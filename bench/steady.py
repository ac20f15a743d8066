"""The steady state: a large fleet with lives of two hours, for some minutes of real time.

    python -m bench.steady
    python -m bench.steady --grants 20000 --minutes 1 --runs 1
    python -m bench.steady --clients 10000 --name steady_10000_clients

The runs follow one another in the same fleet, each with figures of its own. Due times are spread over 80 minutes, as
they are in a fleet that is kept warm, so a million grants make 208 refreshes a second. Measured: what that uses of the
processor, the lateness of each refresh (from due to the start of its attempt), and how much of its life a token has
left when the next one is committed.
"""

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from bench import fleet, machine, meter, report
from bench.stage import Provider, Stage, register, stage, wait

FILLED_PER_SECOND = 40_000  # about; where it is slower the first refreshes are late, before it counts
STARTING_SECONDS = 60.0


@click.command()
@click.option("--grants", default=1_000_000, show_default=True)
@click.option("--clients", default=1, show_default=True, help="That share the grants alike.")
@click.option("--minutes", default=2.0, show_default=True, help="Of each run.")
@click.option("--warm", default=30.0, show_default=True, help="Seconds that go by before it counts.")
@click.option("--runs", default=3, show_default=True)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of results.")
@click.option("--name", default="steady", show_default=True, help="Of the file of results.")
def main(*, grants: int, clients: int, minutes: float, warm: float, runs: int, out: Path | None, name: str) -> None:
    """Let a fleet be kept warm, and watch."""
    begun = machine.described()
    with stage() as here:
        rounds = _watch(here, (grants, clients), minutes * 60, warm, runs)
    measured = {name: report.spread(each[name] for each in rounds) for name in rounds[0]}
    report.say()
    report.table([{"figure": name, **values} for name, values in measured.items()])
    known = {"grants": grants, "clients": clients, "minutes": minutes, "runs": runs, "load": machine.load()}
    report.save(name, {**known, **measured}, module="steady", begun=begun, folder=out)


def _watch(here: Stage, fleet_of: tuple[int, int], seconds: float, warm: float, runs: int) -> list[dict[str, float]]:
    grants, clients = fleet_of
    provider = here.provider()
    provider.order("_reset", count=grants, delay=0.05)
    register(here, provider, name="bench", rotation="on_use")
    if clients > 1:
        fleet.more_clients(here, clients - 1)
    _fill(here, grants, warm + seconds * runs)
    here.python("worker", "worker.cli", "worker")
    here.python("beat", "worker.cli", "beat")
    wait(lambda: provider.ask("_report")["refreshed"] > 0, "nothing is refreshed", seconds=600)
    time.sleep(warm)
    rounds = []
    for _ in range(runs):
        rounds.append(_run(here, provider, seconds))
        report.say({name: round(value, 3) for name, value in rounds[-1].items()}, f"load {machine.load()}")
    return rounds


def _fill(here: Stage, grants: int, seconds: float) -> None:
    """A fleet whose first grants are due when everything has started; those open that will be due meanwhile."""
    filling = timedelta(seconds=grants / FILLED_PER_SECOND + STARTING_SECONDS)
    watched = filling + timedelta(seconds=2 * (seconds + STARTING_SECONDS))
    fleet.fill_openable(here, grants, first_due=filling, opens=lambda _, until: until < watched)
    here.sql("create table public.was as select id, due_at, access_expires_at from evergrant.grants")


def _run(here: Stage, provider: Provider, seconds: float) -> dict[str, float]:
    parts = {
        "worker": here.pids("worker"),
        "beat": here.pids("beat"),
        **here.engine_pids,
        "provider": here.pids("provider-A"),
    }
    since = here.sql("select clock_timestamp() as at")[0]["at"]
    before, begun, refreshed = meter.sample(parts), time.monotonic(), provider.ask("_report")["refreshed"]
    time.sleep(seconds)
    after, lasted = meter.sample(parts), time.monotonic() - begun
    seen = provider.ask("_report")
    here.check_alive()
    cpu = {f"cpu_percent_of_a_core_{name}": (after[name] - before[name]) / lasted * 100 for name in parts}
    ours = sum(value for name, value in cpu.items() if not name.endswith("provider"))
    return {
        "refreshes_per_second": (seen["refreshed"] - refreshed) / lasted,
        "percent_of_all_cores_without_provider": ours / (os.cpu_count() or 1),
        **cpu,
        **{f"memory_mb_{name}": meter.memory_mb(pids) for name, pids in parts.items()},
        **_timeliness(here, since),
        "refused": seen["refused"],
    }


def _timeliness(here: Stage, since: Any) -> dict[str, float]:
    rows = here.sql(
        """
        select
            percentile_cont(array[0.5, 0.99, 0.9999]) within group (order by late) as late,
            max(late) as late_most,
            percentile_cont(0.0001) within group (order by left_) as left_, min(left_) as left_least
        from (
            select extract(epoch from g.refreshed_at - was.due_at)::float as late,
                extract(epoch from was.access_expires_at - g.asked_at)::float / 7200 as left_
            from evergrant.grants g join public.was on was.id = g.id where g.generation > 1 and g.refreshed_at >= %s
        ) seen
        """,
        [since],
    )[0]
    return {
        "late_p50_seconds": rows["late"][0],
        "late_p99_seconds": rows["late"][1],
        "late_p9999_seconds": rows["late"][2],
        "late_most_seconds": rows["late_most"],
        "share_of_life_left_at_commit_p9999": rows["left_"],
        "share_of_life_left_at_commit_least": rows["left_least"],
    }


if __name__ == "__main__":
    main()
