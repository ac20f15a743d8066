"""`grants import` of a large file, and the list of what came of it: lines a second, and memory.

python -m bench.importing
python -m bench.importing --lines 100000 --runs 1
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click

from bench import machine, meter, report
from bench.contestants.contestant import ref_of
from bench.provider import access_token, refresh_token
from bench.stage import NotDone, Stage, register, stage


@click.command()
@click.option("--lines", default=1_000_000, show_default=True)
@click.option("--runs", default=3, show_default=True)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of results.")
def main(*, lines: int, runs: int, out: Path | None) -> None:
    """Import the same file several times, each time into an empty database."""
    begun = machine.described()
    rounds = []
    for _ in range(runs):
        rounds.append(_round(lines))
        report.say({name: round(value, 1) for name, value in rounds[-1].items()}, f"load {machine.load()}")
    measured: dict[str, Any] = {name: report.spread(each[name] for each in rounds) for name in rounds[0]}
    report.say()
    report.table([{"figure": name, **values} for name, values in measured.items()])
    report.save("importing", {"lines": lines, "load": machine.load(), **measured}, begun=begun, folder=out)


def _round(lines: int) -> dict[str, float]:
    with stage() as here:
        register(here, here.provider(), name="bench", rotation="on_use")
        file = here.home / "grants.jsonl"
        _write(file, lines)
        taken = _run(here, "import", "grants", "import", str(file), "--client", "bench")
        count = here.sql("select count(*) as n from evergrant.grants")[0]["n"]
        if count != lines:
            raise NotDone(f"{count} of {lines} lines are rows: {here.tail('import')}")
        here.sql("vacuum analyze evergrant.grants")
        listed = _run(here, "list", "grants", "list", "--json")
        return {
            "import_lines_per_second": lines / taken["seconds"],
            "import_cpu_ms": taken["cpu"] / lines * 1000,
            "import_postgres_cpu_ms": taken["postgres_cpu"] / lines * 1000,
            "import_peak_mb": taken["peak_mb"],
            "import_mb_at_a_tenth": taken["early_mb"],
            "list_lines_per_second": lines / listed["seconds"],
            "list_peak_mb": listed["peak_mb"],
        }


def _write(file: Path, lines: int) -> None:
    """As an old job's table would be exported: both tokens, the scope, a label, and what is left of two hours."""
    now = int(time.time())
    with file.open("w", encoding="utf-8") as output:
        for index in range(lines):
            row = {
                "ref": ref_of(index),
                "refresh_token": refresh_token(index, 0),
                "access_token": access_token(index, 0),
                "scope": "crm_read",
                "created_at": now - index % 4800,
                "expires_in": 7200,
                "labels": {"org": f"{index:08d}"},
            }
            output.write(json.dumps(row) + "\n")


def _run(here: Stage, name: str, *arguments: str) -> dict[str, float]:
    """A command with what it prints thrown away: its time, CPU, and memory early and at most."""
    postgres = here.engine_pids["postgres"]
    before, begun = meter.cpu_seconds(postgres), time.monotonic()
    with (
        here.log_of(name).open("wb") as said,
        subprocess.Popen(
            [sys.executable, "-m", "worker.cli", *arguments], stdout=subprocess.DEVNULL, stderr=said
        ) as running,
    ):
        samples: list[float] = []
        peak = cpu = 0.0
        while running.poll() is None:
            peak, cpu = meter.peak_mb(running.pid) or peak, meter.cpu_seconds([running.pid]) or cpu
            samples.append(meter.resident_mb(running.pid))
            time.sleep(0.2)
    if running.returncode:
        raise NotDone(f"evergrant {' '.join(arguments)}: {here.tail(name)}")
    return {
        "seconds": time.monotonic() - begun,
        "cpu": cpu,
        "postgres_cpu": meter.cpu_seconds(postgres) - before,
        "peak_mb": peak,
        "early_mb": samples[len(samples) // 10],
    }


if __name__ == "__main__":
    main()
