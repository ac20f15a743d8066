"""A schedule entry a token, as other beats would have it: how many messages a second they send, and what they hold.

    python -m bench.beats
    python -m bench.beats --entries 1000 --only stock --seconds 5

Stock beat, RedBeat, django-celery-beat and sqlalchemy-celery-beat, with an entry for each token, all due every second.
Evergrant's beat is in the list with as many rows, all due, and nobody who works on them.

A beat that sends nothing within `--patience` seconds, or whose entries cannot be made within as many, is a result: the
table says so.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from bench import fleet, machine, meter, report
from bench.contestants.naive import CELERY
from bench.stage import NotDone, Stage, register, stage

KINDS = ("stock", "redbeat", "django", "sqlalchemy", "evergrant")
APP = "bench.beat_entries"

Round = dict[str, float | None]


@click.command()
@click.option("--entries", default="10000,100000", show_default=True)
@click.option("--only", multiple=True, type=click.Choice(KINDS))
@click.option("--seconds", default=8.0, show_default=True, help="How long messages are counted.")
@click.option(
    "--patience", default=120.0, show_default=True, help="Seconds for the entries, and for the first message."
)
@click.option("--runs", default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of results.")
def main(*, entries: str, only: tuple[str, ...], seconds: float, patience: float, runs: int, out: Path | None) -> None:
    """Measure beats one after the other."""
    begun = machine.described()
    measured = []
    for count in map(int, entries.split(",")):
        for kind in only or KINDS:
            rounds = _rounds(kind, count, seconds, patience, runs)
            known = {"beat": kind, "entries": count, "patience_seconds": patience, "load": machine.load()}
            measured.append({**known, **_summed(rounds)})
            report.say(kind, count, rounds)
    report.say()
    report.table([_line(row) for row in measured])
    report.save("beats", measured, begun=begun, folder=out)


def _rounds(kind: str, count: int, seconds: float, patience: float, runs: int) -> list[Round]:
    """As many as are asked for, or one that came to nothing: the next would as well."""
    rounds: list[Round] = []
    while len(rounds) < runs and (not rounds or rounds[-1]["per_second"]):
        rounds.append(_measure(kind, count, seconds, patience))
    return rounds


def _measure(kind: str, count: int, seconds: float, patience: float) -> Round:
    with stage() as here:
        env = {
            "BENCH_KIND": kind,
            "BENCH_ENTRIES": str(count),
            "BENCH_BROKER_URL": here.engines.valkey.url_of(1),
            "BENCH_REDIS_URL": f"unix://:{here.engines.valkey.password}@{here.engines.valkey.socket}",
            "BENCH_DATABASE_URL": here.database_url.replace("postgresql://", "postgresql+psycopg://"),
            "DJANGO_SETTINGS_MODULE": "bench.beat_django",
        }
        if kind == "evergrant":
            return _evergrant(here, count, seconds, patience)
        begun = time.monotonic()
        filling = here.python("fill", APP, env=env)
        if not filling.wait(patience):
            filling.kill()
            return _nothing(None)
        if filling.exit_code:
            raise NotDone(f"{kind}: {here.tail('fill')}")
        filled = time.monotonic() - begun
        here.processes.pop("fill")
        beat = here.run(
            "beat", [CELERY, "-A", APP, "beat", "--loglevel=WARNING", "-s", str(here.home / "schedule")], env
        )
        found = _count(here, seconds, patience, lambda: _length(here, 1, "celery"))
        beat.kill()  # one that is busy takes its time to end, and nobody needs it any more
        return {"fill_seconds": filled, **found}


def _evergrant(here: Stage, count: int, seconds: float, patience: float) -> Round:
    """Rows claimed a second; what is published stays in the broker, and claims do not lapse meanwhile."""
    register(here, here.provider(), name="bench", rotation="on_use", options=("--burst", str(10 * count)))
    begun = time.monotonic()
    fleet.fill(here, count, first_due="-80 minutes")
    filled = time.monotonic() - begun
    here.python("beat", "worker.cli", "beat")

    def claimed() -> int:
        return int(here.sql("select count(*) as n from evergrant.grants where claimed_at is not null")[0]["n"])

    return {"fill_seconds": filled, **_count(here, seconds, patience, claimed, most=count)}


def _nothing(mb: float | None) -> Round:
    """Not in time."""
    return {"fill_seconds": None, "first_seconds": None, "per_second": 0.0, "cpu_ms": None, "mb": mb}


def _count(here: Stage, seconds: float, patience: float, sent: Callable[[], int], *, most: int | None = None) -> Round:
    """From the first message on, for some seconds or until all are sent."""
    (pid,) = here.pids("beat")
    begun = time.monotonic()
    while not sent():
        here.check_alive()
        if time.monotonic() - begun > patience:
            return {name: value for name, value in _nothing(meter.resident_mb(pid)).items() if name != "fill_seconds"}
        time.sleep(0.05)
    first, before, cpu = time.monotonic(), sent(), meter.cpu_seconds([pid])
    while time.monotonic() - first < seconds and (most is None or sent() < most):
        time.sleep(0.1)
    lasted, after = time.monotonic() - first, sent()
    return {
        "first_seconds": first - begun,
        "per_second": (after - before) / lasted,
        "cpu_ms": (meter.cpu_seconds([pid]) - cpu) / max(after - before, 1) * 1000,
        "mb": meter.resident_mb(pid),
    }


def _length(here: Stage, database: int, queue: str) -> int:
    with here.engines.valkey.connect(database) as client:
        return int(client.llen(queue))


def _summed(rounds: list[Round]) -> dict[str, Any]:
    names = rounds[0]
    found: dict[str, Any] = {}
    for name in names:
        values = [value for each in rounds if (value := each[name]) is not None]
        found[name] = report.spread(values) if values else None
    return found


def _line(row: dict[str, Any]) -> dict[str, object]:
    late = f"not within {row['patience_seconds']:g} s"

    def median(name: str) -> object:
        return row[name]["median"] if row[name] else None

    filled = median("fill_seconds")
    return {
        "beat": row["beat"],
        "entries": row["entries"],
        "messages/s": median("per_second"),
        "CPU ms a message": median("cpu_ms"),
        "first after s": median("first_seconds") or (late if filled else None),
        "resident MB": median("mb"),
        "entries made in s": filled or late,
    }


if __name__ == "__main__":
    sys.exit(main())
