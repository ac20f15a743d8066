"""What each stage of a refresh costs: CPU of one process that carries them out one after the other, without Celery.

    python -m bench.stages
    python -m bench.stages --group 50 --rounds 40 --rotation immediate

The same functions as a worker's, on PostgreSQL, a journal on the disk and the provider over HTTP. CPU, and not time, so
that other work on the machine spoils little of it.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from datetime import timedelta
from pathlib import Path

import click

import settings
from bench import machine, report
from bench.contestants.evergrant import CLIENT, Evergrant
from bench.stage import Stage, stage
from models import client as clients
from models.claim import Job
from models.database import transaction
from tasks import refresh
from tasks.claim import claim
from tasks.runtime.attempt import Arrived
from tasks.runtime.runtime import Runtime
from tasks.settling import settle
from tasks.settling.write import write
from worker import logs

LEASE = timedelta(seconds=30)


class Meter:
    """CPU µs a refresh of each stage, one figure a group."""

    def __init__(self, group: int) -> None:
        self.group = group
        self.seen: dict[str, list[float]] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add what is carried out inside."""
        before = time.process_time()
        yield
        self.seen.setdefault(name, []).append((time.process_time() - before) / self.group * 1e6)


@click.command()
@click.option("--group", default=100, show_default=True, help="Refreshes that are carried out together.")
@click.option("--rounds", default=20, show_default=True)
@click.option("--rotation", default="on_use", show_default=True)
@click.option("--name", "file", default="stages", show_default=True, help="Of the file of results.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of results.")
def main(*, group: int, rounds: int, rotation: str, file: str, out: Path | None) -> None:
    """Carry out groups of refreshes, and tell what each stage costs."""
    begun = machine.described()
    meter = Meter(group)
    with stage() as here:
        _prepare(here, group * rounds, rotation)
        with here.log_of("stages").open("w", encoding="utf-8") as lines, redirect_stderr(lines):
            logs.configure("worker", level="INFO")
            runtime = Runtime.open(settings.current())
            try:
                for _ in range(rounds):
                    _refresh(runtime, meter)
            finally:
                runtime.close()
    microseconds = {name: report.spread(seen) for name, seen in meter.seen.items()}
    report.table([{"stage": name, **spread} for name, spread in microseconds.items()])
    report.say(f"together: {sum(spread['median'] for spread in microseconds.values()):.0f} µs of CPU a refresh")
    report.save(file, microseconds, module="stages", begun=begun, folder=out)
    sys.exit(0)


def _prepare(here: Stage, count: int, rotation: str) -> None:
    provider = here.provider()
    provider.order("_reset", count=count)
    fleet = Evergrant(here, provider, count, rotation=rotation)
    fleet.prepare()
    fleet.make_due()
    fleet.begin()


def _refresh(runtime: Runtime, meter: Meter) -> None:
    with meter.stage("claim"):
        jobs = _claim(meter.group)
    with meter.stage("start"):
        started = refresh.start(runtime, runtime.admission.once(jobs))
    with meter.stage("ask"):
        for attempt in started:
            refresh.ask(runtime, attempt)
        group = _arrived(runtime, len(started))
    with meter.stage("journal"):
        settle.journal_answers(runtime, group)
    with meter.stage("settle, log"):
        write(runtime, group, wait=settle.LOCK_WAIT)
    with meter.stage("mark"):
        runtime.journal.mark_settled([each.position for each in group if each.position is not None])
    runtime.admission.settled(group)


def _arrived(runtime: Runtime, count: int) -> list[Arrived]:
    """Wait for so many answers: this process has no threads that would take them."""
    found = [runtime.answers._arrivals.get(timeout=60) for _ in range(count)]  # noqa: SLF001
    return [each for each in found if each is not None]


def _claim(most: int) -> list[Job]:
    with transaction() as connection:
        client_id = clients.id_of(connection, CLIENT)
        assert client_id is not None
        return claim(connection, client_id, lease=LEASE, most=most).due


if __name__ == "__main__":
    main()
