"""Refreshes a second and what each costs: Evergrant beside the job that most teams write, and others.

    python -m bench.side_by_side
    python -m bench.side_by_side --only naive-threads --only evergrant --delays 50 --runs 1 --scale 0.05

All grants of a contestant are due at once, and the provider (a process of its own) answers after a delay. Each
contestant has fresh engines; a round ends when every row is stored. The provider's ledger counts, and afterwards every
row must hold the token that the ledger says it should.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from bench import drain, machine, report
from bench.contestants.ceiling import Ceiling
from bench.contestants.contestant import Contestant
from bench.contestants.evergrant import Evergrant
from bench.contestants.naive import Naive
from bench.stage import NotDone, Provider, Stage, stage

Make = Callable[[Stage, Provider, int], Contestant]


def _procrastinate(stage: Stage, provider: Provider, count: int) -> Contestant:
    from bench.contestants.procrastinate_job import Procrastinate

    return Procrastinate(stage, provider, count)


def _pgqueuer(stage: Stage, provider: Provider, count: int) -> Contestant:
    from bench.contestants.pgqueuer_job import PgQueuer

    return PgQueuer(stage, provider, count)


def _naive(pool: str, concurrency: int) -> Make:
    return lambda stage, provider, count: Naive(stage, provider, count, pool=pool, concurrency=concurrency)


def _evergrant(workers: int, rotation: str = "on_use") -> Make:
    return lambda stage, provider, count: Evergrant(stage, provider, count, workers=workers, rotation=rotation)


# Kind, how to make it, and of how many grants a round is: some ten seconds of work for each.
CONTESTANTS: list[tuple[str, Make, int]] = [
    ("naive-prefork", _naive("prefork", 16), 2_000),
    ("naive-threads", _naive("threads", 32), 2_000),
    ("naive-gevent", _naive("gevent", 90), 2_000),
    ("procrastinate", _procrastinate, 4_000),
    ("pgqueuer", _pgqueuer, 4_000),
    ("ceiling", Ceiling, 30_000),
    ("evergrant", _evergrant(1), 20_000),
    ("evergrant-2", _evergrant(2), 20_000),
    ("evergrant-immediate", _evergrant(1, "immediate"), 20_000),
]
KINDS = [kind for kind, *_ in CONTESTANTS]


@click.command()
@click.option("--only", multiple=True, type=click.Choice(KINDS), help="Only these contestants.")
@click.option("--delays", default="0,50,200", show_default=True, help="Of the provider's answers, in ms.")
@click.option("--runs", default=3, show_default=True)
@click.option("--scale", default=1.0, show_default=True, help="Of the numbers of grants.")
@click.option("--name", default="side_by_side", show_default=True, help="Of the file of results.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of results.")
def main(*, only: tuple[str, ...], delays: str, runs: int, scale: float, name: str, out: Path | None) -> None:
    """Measure all contestants one after the other."""
    begun = machine.described()
    measured: list[dict[str, Any]] = []
    failed: list[str] = []
    for kind, make, count in CONTESTANTS:
        if not only or kind in only:
            answers = [int(each) for each in delays.split(",")]
            failed += _measure(measured, kind, make, count=max(int(count * scale), 50), delays=answers, runs=runs)
    report.say()
    report.table([_line(row) for row in measured])
    _say_ratios(measured)
    report.save(name, measured, module="side_by_side", begun=begun, folder=out)
    sys.exit(1 if failed else 0)


def _measure(
    measured: list[dict[str, Any]], kind: str, make: Make, *, count: int, delays: Sequence[int], runs: int
) -> list[str]:
    """Add what a contestant came to; returns why it was given up: one that is stuck ends no other."""
    with stage() as here:
        provider = here.provider()
        provider.order("_reset", count=count)
        contestant = make(here, provider, count)
        report.say(f"{contestant.name}: {count} grants …")
        contestant.prepare()
        contestant.start()
        for delay in delays:
            provider.order("_set", delay=delay / 1000)
            rounds, stuck = _rounds(here, contestant, provider, runs)
            if rounds:
                known = {"kind": kind, "name": contestant.name, "delay_ms": delay, "grants": count, "stuck": stuck}
                measured.append({**known, **drain.summed(rounds)})
            told = ", ".join(f"{each['per_second']:.0f}/s" for each in rounds)
            report.say(f"  {delay} ms: {told}", f"load {machine.load()}", *([stuck] if stuck else []))
            if stuck:
                return [stuck]
        contestant.stop()
    return []


def _rounds(
    here: Stage, contestant: Contestant, provider: Provider, runs: int
) -> tuple[list[dict[str, Any]], str | None]:
    """Rounds until one does not end, and why it did not."""
    rounds: list[dict[str, Any]] = []
    for _ in range(runs):
        try:
            rounds.append(drain.once(here, contestant, provider))
        except NotDone as error:
            return rounds, str(error)
    return rounds, None


def _say_ratios(measured: Sequence[dict[str, Any]]) -> None:
    """How many times the best naive form each form of Evergrant makes, where both were measured."""
    for delay in dict.fromkeys(row["delay_ms"] for row in measured):
        rates = {row["kind"]: row["per_second"]["median"] for row in measured if row["delay_ms"] == delay}
        naive = max((rate for kind, rate in rates.items() if kind.startswith("naive")), default=None)
        if naive is not None:
            ours = {kind: rate / naive for kind, rate in rates.items() if kind.startswith("evergrant")}
            report.say(*(f"{delay} ms: {kind} makes {ratio:.1f} x the best naive form" for kind, ratio in ours.items()))


def _line(row: dict[str, Any]) -> dict[str, object]:
    rate = row["per_second"]
    return {
        "contestant": row["name"],
        "answer after": f"{row['delay_ms']} ms",
        "refreshes/s": rate["median"],
        "spread": f"{rate['least']:.0f}-{rate['greatest']:.0f}",
        **{f"{name} ms": spread["median"] for name, spread in row["cpu_ms"].items()},
        "memory MB": sum(mb for name, mb in row["memory_mb"].items() if name in ("workers", "beat")),
    }


if __name__ == "__main__":
    main()
