"""More machines: several workers and several beats over one PostgreSQL, and what they do twice, which must be nothing.

    python -m bench.machines
    python -m bench.machines --workers 1,2 --beats 1,3 --grants 1000 --runs 1 --idle 2

Each worker and each beat is a process as it would be on a machine of its own, all here. For each number of both, on
fresh engines: first the idle cost while nothing is due, then rounds as those of `bench.side_by_side`, all grants due at
once. What is done twice is told by three who know nothing of each other: the provider's ledger (a refresh token that
was presented again), the workers' logs (a claim that more than one attempt was made under), and the rows (three numbers
of claim_no a refresh: claim, start, settle; whatever is beyond was claimed or started for nothing).
"""

import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click

from bench import drain, machine, meter, report
from bench.contestants.evergrant import Evergrant
from bench.stage import Stage, stage, wait

DELAY_SECONDS = 0.05
NUMBERS_A_REFRESH = 3
SETTLING_SECONDS = 3.0  # what starting leaves to be done is not idle
TWICE = ("presented_twice", "started_twice")


@click.command()
@click.option("--workers", default="1,2,4", show_default=True, help="Processes.")
@click.option("--beats", default="1,2,3", show_default=True, help="Processes.")
@click.option("--grants", default=10_000, show_default=True)
@click.option("--runs", default=3, show_default=True)
@click.option("--idle", default=5.0, show_default=True, help="Seconds of each look at the idle cost, one a run.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of results.")
def main(*, workers: str, beats: str, grants: int, runs: int, idle: float, out: Path | None) -> None:
    """Measure each number of workers with each number of beats."""
    begun = machine.described()
    measured = []
    for some in map(int, workers.split(",")):
        for many in map(int, beats.split(",")):
            measured.append(_measure(some, many, grants, runs, idle))
            report.say(*(f"{name}: {value}" for name, value in _line(measured[-1]).items()), f"load {machine.load()}")
    report.say()
    report.table([_line(row) for row in measured])
    report.save("machines", measured, begun=begun, folder=out)
    sys.exit(1 if any(row[name] for row in measured for name in TWICE) else 0)


def _measure(workers: int, beats: int, grants: int, runs: int, idle: float) -> dict[str, Any]:
    with stage() as here:
        provider = here.provider()
        provider.order("_reset", count=grants, delay=DELAY_SECONDS)
        contestant = Evergrant(here, provider, grants, workers=workers, beats=beats)
        contestant.prepare()
        contestant.start()
        resting = _idle(here, contestant, idle, runs)
        before = _numbers(here)
        rounds = [drain.once(here, contestant, provider) for _ in range(runs)]
        contestant.stop()
        return {
            "workers": workers,
            "beats": beats,
            "grants": grants,
            **drain.summed(rounds),
            "idle_cpu_ms_a_second": resting,
            "presented_twice": sum(each["refused"] for each in rounds),
            "started_twice": _started_twice(here, contestant.workers, at_least=runs * grants),
            "claim_numbers_beyond": _numbers(here) - before - NUMBERS_A_REFRESH * runs * grants,
        }


def _idle(here: Stage, contestant: Evergrant, seconds: float, runs: int) -> dict[str, dict[str, float]]:
    """CPU ms a second of each part while nothing is due and the valve is open."""
    here.sql("update evergrant.grants set due_at = clock_timestamp() + interval '1 hour'")
    here.sql("vacuum analyze evergrant.grants")
    contestant.pause(paused=False)
    time.sleep(SETTLING_SECONDS)
    parts = {**contestant.parts(), **here.engine_pids}
    looks = []
    for _ in range(runs):
        before, begun = {name: meter.exact_cpu_seconds(pids) for name, pids in parts.items()}, time.monotonic()
        time.sleep(seconds)
        after, lasted = {name: meter.exact_cpu_seconds(pids) for name, pids in parts.items()}, time.monotonic() - begun
        looks.append({name: (after[name] - before[name]) / lasted * 1000 for name in parts})
    here.check_alive()
    return {name: report.spread(look[name] for look in looks) for name in parts}


def _numbers(here: Stage) -> int:
    return int(here.sql("select sum(claim_no) as n from evergrant.grants")[0]["n"])


def _started_twice(here: Stage, workers: list[str], *, at_least: int) -> int:
    """Of how many claims more than one attempt was made, by the lines that workers log.

    Raises:
        NotDone: there are fewer lines than refreshes, so they prove nothing.

    """
    seen: Counter[tuple[str, int]] = Counter()

    def all_told() -> bool:
        seen.clear()
        for name in workers:
            seen.update(_attempts(here.log_of(name)))
        return seen.total() >= at_least

    wait(all_told, f"workers log fewer than {at_least} refreshes", seconds=10, every=1)
    return sum(1 for times in seen.values() if times > 1)


def _attempts(log: Path) -> list[tuple[str, int]]:
    """Grant and claim of each attempt that a worker tells of."""
    found = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("{") and '"refresh"' in line:
            told = json.loads(line)
            if told["event"] == "refresh":
                found.append((told["grant_id"], told["claim_no"]))
    return found


def _line(row: dict[str, Any]) -> dict[str, object]:
    rate, idle = row["per_second"], row["idle_cpu_ms_a_second"]
    return {
        "workers": row["workers"],
        "beats": row["beats"],
        "refreshes/s": rate["median"],
        "spread": f"{rate['least']:.0f}-{rate['greatest']:.0f}",
        **{f"{name} ms": spread["median"] for name, spread in row["cpu_ms"].items()},
        **{f"idle {name} ms/s": spread["median"] for name, spread in idle.items()},
        "twice: presented": row["presented_twice"],
        "started": row["started_twice"],
        "numbers beyond": row["claim_numbers_beyond"],
    }


if __name__ == "__main__":
    main()
