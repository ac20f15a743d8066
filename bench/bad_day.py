"""The bad day: every grant of a client due at once, its provider away, the broker flushed, the database restarted.

    python -m bench.bad_day
    python -m bench.bad_day --grants 500 --rate 3000 --away 20 --mood hang
    python -m bench.bad_day --grants 100000 --rate 3000 --away 1800 --name bad_day_half_an_hour

Two clients: `sick`, with a rate and all its grants due in the same second, and `healthy` at another provider, whose
grants come due one after the other all the time. While the sick one's provider answers 503, or not at all
(`--mood hang`), or, to compare, as ever (`--mood well`), the broker loses everything and the database is restarted.
Measured: how long after the provider's return until all are fresh, against the least that the rate allows; the most
that the provider counted in any minute; the healthy client's lateness before and during the trouble, also by its parts:
while only the other's provider is away, after the flush, after the restart.
"""

import bisect
import time
from pathlib import Path
from typing import Any

import click

from bench import machine, report
from bench.contestants.contestant import ref_of
from bench.fleet import insert_refs
from bench.stage import Provider, Stage, register, stage, wait

HEALTHY_PER_SECOND = 20
BEFORE_SECONDS = 20.0
DUE_AT_ONCE = """
update evergrant.grants g set due_at = clock_timestamp() from evergrant.clients c
where c.id = g.client_id and c.name = 'sick'
"""


@click.command()
@click.option("--grants", default=10_000, show_default=True, help="Of the sick client.")
@click.option("--rate", default=6_000, show_default=True, help="Its requests a minute.")
@click.option("--away", default=120.0, show_default=True, help="Seconds that its provider is away.")
@click.option("--mood", default="away", show_default=True, type=click.Choice(["away", "hang", "well"]))
@click.option("--runs", default=1, show_default=True)
@click.option("--name", default="bad_day", show_default=True, help="Of the file of results.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of results.")
def main(*, grants: int, rate: int, away: float, mood: str, runs: int, name: str, out: Path | None) -> None:
    """Live through it, a few times."""
    begun = machine.described()
    rounds = [_round(grants, rate, away, mood) for _ in range(runs)]
    measured: dict[str, Any] = {figure: report.spread(each[figure] for each in rounds) for figure in rounds[0]}
    report.say()
    report.table([{"figure": figure, **values} for figure, values in measured.items()])
    known = {"grants": grants, "rate_per_minute": rate, "away_seconds": away, "mood": mood, "load": machine.load()}
    report.save(name, {**known, **measured}, module="bad_day", begun=begun, folder=out)


def _round(grants: int, rate: int, away: float, mood: str) -> dict[str, float]:
    with stage() as here:
        sick, healthy = here.provider("sick"), here.provider("healthy")
        healthy_grants = int(HEALTHY_PER_SECOND * (away + BEFORE_SECONDS + 90 + grants / rate * 60 * 1.5))
        for name, provider, count, options in (
            ("sick", sick, grants, ("--rate", f"{rate}/minute", "--burst", "2000")),
            ("healthy", healthy, healthy_grants, ()),
        ):
            provider.order("_reset", count=count, delay=0.05)
            register(here, provider, name=name, rotation="on_use", options=options)
            insert_refs(here, name, [ref_of(index) for index in range(count)])
        _start(here)
        _make_due(here)
        wait(lambda: healthy.ask("_report")["refreshed"] > 0, "nothing is refreshed", seconds=60)
        time.sleep(BEFORE_SECONDS)
        sick.order("_set", mood=mood)
        here.sql(DUE_AT_ONCE)
        begun = time.time()
        flushed, restarted = _trouble(here, away)
        sick.order("_set", mood="well")
        back = time.time()
        _wait_for(sick, grants, seconds=grants / rate * 60 * 3 + 400)
        periods = {
            "calm": (0.0, begun),
            "trouble": (begun, back),
            "trouble_only_away": (begun, flushed),
            "trouble_flushed": (flushed, restarted),
            "trouble_restarted": (restarted, back),
        }
        return {**_recovery(sick, back, grants, rate), **_lateness(here, periods)}


def _start(here: Stage) -> None:
    here.python("worker", "worker.cli", "worker")
    here.python("beat", "worker.cli", "beat")
    here.wait_said("worker", "ready.")
    here.wait_said("beat", "beat: Starting")


def _make_due(here: Stage) -> None:
    """The healthy client's grants one after the other; what was due when is kept for later."""
    here.sql(
        """
        create table public.was_due as
        select g.id, clock_timestamp() + row_number() over (order by g.ref) * interval '1 second' / %s as at
        from evergrant.grants g join evergrant.clients c on c.id = g.client_id where c.name = 'healthy'
        """,
        [HEALTHY_PER_SECOND],
    )
    here.sql("update evergrant.grants g set due_at = w.at, status = 'active' from public.was_due w where g.id = w.id")
    here.sql(
        "update evergrant.grants set due_at = clock_timestamp() + interval '1 day', status = 'active'"
        " where status = 'paused'"
    )


def _trouble(here: Stage, away: float) -> tuple[float, float]:
    """A third of the time each: nothing more, after a flush of the broker, after a restart of the database; when."""
    time.sleep(away / 3)
    flushed = time.time()
    with here.engines.valkey.connect() as client:
        client.flushall()
    time.sleep(away / 3)
    restarted = time.time()
    here.engines.postgres.restart(immediate=True)
    time.sleep(away / 3)
    here.check_alive()
    return flushed, restarted


def _wait_for(provider: Provider, grants: int, *, seconds: float) -> None:
    wait(lambda: provider.ask("_report")["refreshed"] >= grants, "not all are fresh again", seconds=seconds, every=0.5)


def _recovery(sick: Provider, back: float, grants: int, rate: int) -> dict[str, float]:
    seen, arrivals = sick.ask("_report"), sick.ask("_arrivals")
    least = grants / rate * 60
    first = next((at for at in arrivals if at > back), back)
    return {
        "least_seconds": least,
        "fresh_after_seconds": seen["last_at"] - back,
        "of_the_least": (seen["last_at"] - back) / least,
        "first_request_after_seconds": first - back,
        "from_first_request_of_the_least": (seen["last_at"] - first) / least,
        "most_in_60_s": max(bisect.bisect(arrivals, at + 60) - i for i, at in enumerate(arrivals)),
        "asked_in_vain": seen["turned_away"],
        "refused": seen["refused"],
    }


def _lateness(here: Stage, periods: dict[str, tuple[float, float]]) -> dict[str, float]:
    """The healthy client's seconds between due and begun, of what was due in each period."""
    rows = here.sql(
        """
        select extract(epoch from w.at)::float as due, extract(epoch from g.refreshed_at - w.at)::float as late
        from public.was_due w join evergrant.grants g on g.id = w.id where g.generation > 1
        """
    )
    found = {}
    for name, (since, until) in periods.items():
        late = sorted(row["late"] for row in rows if since <= row["due"] < until)
        found[f"healthy_late_p50_{name}"] = late[len(late) // 2]
        found[f"healthy_late_p99_{name}"] = late[len(late) * 99 // 100]
        found[f"healthy_late_most_{name}"] = late[-1]
    return found


if __name__ == "__main__":
    main()
