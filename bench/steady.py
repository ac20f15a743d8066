"""The steady state: a large fleet with lives of two hours, for some minutes of real time.

    python -m bench.steady
    python -m bench.steady --grants 20000 --minutes 1

Due times are spread over 80 minutes, as they are in a fleet that is kept warm, so a million grants make 208 refreshes a
second. Measured: what that uses of the processor, the lateness of each refresh (from due to the start of its attempt),
and how much of its life a token has left when the next one is committed.
"""

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from bench import fleet, machine, meter, report
from bench.contestants.evergrant import CELERY
from bench.stage import Stage, register, stage, wait


@click.command()
@click.option("--grants", default=1_000_000, show_default=True)
@click.option("--minutes", default=5.0, show_default=True)
@click.option("--warm", default=60.0, show_default=True, help="Seconds that go by before it counts.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of results.")
def main(*, grants: int, minutes: float, warm: float, out: Path | None) -> None:
    """Let a fleet be kept warm, and watch."""
    begun = machine.described()
    with stage() as here:
        found = _watch(here, grants, minutes * 60, warm)
    measured = {name: report.spread([value]) for name, value in found.items()}
    report.table([{"figure": name, "value": value} for name, value in found.items()])
    known = {"grants": grants, "minutes": minutes, "load": machine.load()}
    report.save("steady", {**known, **measured}, begun=begun, folder=out)


def _watch(here: Stage, grants: int, seconds: float, warm: float) -> dict[str, float]:
    provider = here.provider()
    provider.order("_reset", count=grants, delay=0.05)
    register(here, provider, name="bench", rotation="on_use")
    fleet.fill_openable(here, grants, first_due=timedelta(seconds=grants / 50_000 + 60))
    here.sql("create table public.was as select id, due_at, access_expires_at from evergrant.grants")
    here.run("worker", [CELERY, "-A", "worker", "worker", "-n", "worker@localhost"])
    here.run("beat", [CELERY, "-A", "worker", "beat"])
    wait(lambda: provider.ask("_report")["refreshed"] > 0, "nothing is refreshed", seconds=600)
    time.sleep(warm)
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
    refreshed = provider.ask("_report")["refreshed"] - refreshed
    here.check_alive()
    cpu = {f"cpu_percent_of_a_core_{name}": (after[name] - before[name]) / lasted * 100 for name in parts}
    ours = sum(value for name, value in cpu.items() if not name.endswith("provider"))
    cores = machine.described()["cores"]
    return {
        "refreshes_per_second": refreshed / lasted,
        "percent_of_all_cores_without_provider": ours / cores,
        **cpu,
        **{f"memory_mb_{name}": meter.memory_mb(pids) for name, pids in parts.items()},
        **_timeliness(here, since),
        "refused": provider.ask("_report")["refused"],
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
