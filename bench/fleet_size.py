"""What the size of a fleet costs: the claim of 500, the idle look of beat, memory, sizes, the lists for people.

    python -m bench.fleet_size
    python -m bench.fleet_size --rows 10000,100000 --runs 3
    python -m bench.fleet_size --rows 10000000 --runs 1 --name fleet_size_10m --without-mass-change

Nothing is sent: claims and looks are those of beat, in this process, each with its commit; beat and worker are
started to see how soon they are ready and what they hold in memory.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from bench import fleet, machine, meter, plan, report
from bench.stage import Stage, register, stage
from models import chore, database
from models import claim as claims
from models.database import transaction
from tasks.claim import MOST
from tasks.claim import claim as claim_client

CLAIMS = 20
LOOKS = 50
LEASE = timedelta(seconds=30)
BACK = """
update evergrant.grants g set due_at = clock_timestamp() - random() * interval '1 minute', claimed_at = null
from (select id from evergrant.grants order by due_at limit %s) early where g.id = early.id
"""
# What was claimed is settled before the next claim: each counts what is under way, in life at most a burst of 2 000.
SETTLED = """
update evergrant.grants set claimed_at = null, due_at = clock_timestamp() + interval '80 minutes'
where claimed_at is not null
"""


@click.command()
@click.option("--rows", default="10000,100000,1000000", show_default=True)
@click.option("--runs", default=3, show_default=True)
@click.option(
    "--without-mass-change", is_flag=True, help="Do not make all grants due at once: it rewrites table and indexes."
)
@click.option("--name", default="fleet_size", show_default=True, help="Of the file of results.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of results.")
def main(*, rows: str, runs: int, without_mass_change: bool, name: str, out: Path | None) -> None:
    """Measure fleets one after the other, each on engines of its own."""
    begun = machine.described()
    measured = []
    for count in map(int, rows.split(",")):
        with stage() as here:
            measured.append(_measure(here, count, runs, mass_change=not without_mass_change))
        report.say(f"{count} rows, load {machine.load()}")
    report.say()
    report.table([_line(row) for row in measured])
    report.save(name, measured, module="fleet_size", begun=begun, folder=out)


def _measure(here: Stage, count: int, runs: int, *, mass_change: bool) -> dict[str, Any]:
    provider = here.provider()
    register(here, provider, name="bench", rotation="on_use", options=("--burst", str(10 * MOST * CLAIMS)))
    found: dict[str, Any] = {"rows": count, "load": machine.load()}
    steps: dict[str, Callable[[], Any]] = {
        "fill_seconds": lambda: _seconds(lambda: fleet.fill(here, count)),
        "sizes_mb": lambda: fleet.sizes(here),
        "idle_look": lambda: _idle(here),
        "commands": lambda: _commands(runs),
        "plans": lambda: _plans(here),
        "processes": lambda: _processes(here),
        "claim_us": lambda: report.spread(_claims(here, count) for _ in range(runs)),
    }
    if mass_change:
        steps["first_after_mass_change_ms"] = lambda: _after_mass_change(here)
    for name, step in steps.items():
        cpu, begun = meter.cpu_seconds(here.engine_pids["postgres"]), time.perf_counter()
        found[name] = step()
        cpu, lasted = meter.cpu_seconds(here.engine_pids["postgres"]) - cpu, time.perf_counter() - begun
        report.say(f"  {count}: {name} took {lasted:.1f} s, and PostgreSQL {cpu:.1f} s of CPU")
    database.dispose()
    return found


def _claims(here: Stage, count: int) -> float:
    """The median of some claims of 500, as microseconds a token, commit included."""
    most = min(MOST, count // 4)
    times = []
    here.sql(BACK, [min(most * (CLAIMS + 2), count)])
    here.sql("vacuum analyze evergrant.grants")
    client_id = _client(here)
    for _ in range(CLAIMS):
        begun = time.perf_counter()
        with transaction() as connection:
            taken = len(claim_client(connection, client_id, lease=LEASE, most=most).due)
        times.append((time.perf_counter() - begun) / max(taken, 1) * 1e6)
        here.sql(SETTLED)
        if taken < most:
            break
    return statistics.median(times)


def _after_mass_change(here: Stage) -> float:
    """Every grant is due at once; the first claim, before anything was vacuumed, in ms."""
    here.sql(
        "update evergrant.grants set due_at = clock_timestamp() - random() * interval '1 minute', claimed_at = null"
    )
    client_id = _client(here)

    def claim() -> None:
        with transaction() as connection:
            claim_client(connection, client_id, lease=LEASE, most=MOST)

    return _seconds(claim) * 1000


def _idle(here: Stage) -> dict[str, float]:
    """A look of beat at a fleet with nothing due: ms of CPU in this process and in PostgreSQL, and of time."""
    postgres = here.engine_pids["postgres"]

    def look() -> None:
        with transaction() as connection:
            claims.clients_to_look_at(connection)
        with transaction() as connection:
            chore.claim(connection)

    look()
    cpu, theirs, begun = time.process_time(), meter.cpu_seconds(postgres), time.perf_counter()
    for _ in range(LOOKS):
        look()
    return {
        "cpu_ms": (time.process_time() - cpu) / LOOKS * 1000,
        "postgres_cpu_ms": (meter.cpu_seconds(postgres) - theirs) / LOOKS * 1000,
        "ms": (time.perf_counter() - begun) / LOOKS * 1000,
    }


def _processes(here: Stage) -> dict[str, float]:
    """Seconds until beat and worker are ready; their MB a few looks later, resident and counting shared pages once."""
    found = {}
    for name, ready in (("worker", "ready."), ("beat", "beat: Starting")):
        begun = time.monotonic()
        here.python(name, "worker.cli", name)
        here.wait_said(name, ready)
        found[f"{name}_ready_seconds"] = time.monotonic() - begun
    time.sleep(5)
    for name in ("worker", "beat"):
        (pid,) = here.pids(name)
        found[f"{name}_mb"] = meter.resident_mb(pid)
        found[f"{name}_shared_once_mb"] = meter.memory_mb([pid])
    here.stop("beat", "worker")
    return found


def _commands(runs: int) -> dict[str, Any]:
    """Seconds of a command that looks at the whole fleet, start of the program included."""
    commands = {
        "status": ("status", "--json"),
        "grants list, first page": ("grants", "list", "--json"),
        "grants list --due-within 1m": ("grants", "list", "--due-within", "1m", "--json"),
        "grants show": ("grants", "show", "customer-00000042"),
        "version (start of a command)": ("--version",),
    }
    return {name: report.spread(_first_line(arguments) for _ in range(runs)) for name, arguments in commands.items()}


def _first_line(arguments: tuple[str, ...]) -> float:
    """Seconds until the first line, or the end where there is none; a reader in a pager waits as long."""
    begun = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "worker.cli", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        running.stdout.readline()
        seconds = time.perf_counter() - begun
        running.kill()
    return seconds


def _plans(here: Stage) -> dict[str, list[str]]:
    """Plans of the statements that a fleet's size could spoil: which indexes serve, and what is read as a whole."""
    at: dict[str, Any] = {"client_id": _client(here), "lease": "30 s", "most": 500}
    statements: dict[str, tuple[str, dict[str, Any]]] = {
        "claim": (claims.CLAIM_DUE.format(condition="", order="g.due_at"), at),
        "look": (str(claims.LOOK), {"now": None, "environment": None}),
        "under way": (str(claims.LOCK_VALVE), {"now": None, "environment": None, "client_id": at["client_id"]}),
    }
    return {name: plan.scans(here, text, values) for name, (text, values) in statements.items()}


def _client(here: Stage) -> int:
    return int(here.sql("select id from evergrant.clients")[0]["id"])


def _seconds(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _line(row: dict[str, Any]) -> dict[str, object]:
    sizes = row["sizes_mb"]
    return {
        "rows": row["rows"],
        "claim us/token": row["claim_us"]["median"],
        "idle CPU ms": row["idle_look"]["cpu_ms"] + row["idle_look"]["postgres_cpu_ms"],
        "first claim after mass change ms": row.get("first_after_mass_change_ms"),
        "beat MB": row["processes"]["beat_mb"],
        "worker MB": row["processes"]["worker_mb"],
        "table MB": sizes["table"],
        "indexes MB": sum(mb for name, mb in sizes.items() if name != "table"),
        "status s": row["commands"]["status"]["median"],
        "list s": row["commands"]["grants list, first page"]["median"],
    }


if __name__ == "__main__":
    main()
