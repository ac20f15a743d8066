"""The benchmarks run, in small: Evergrant beside the job that most teams write, several workers and beats, and
applications that read. How fast they are is not looked at here."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.acceptance.programs import ROOT, environment


def run(folder: Path, name: str, *options: str) -> tuple[list[dict[str, Any]], str]:
    """One benchmark; its results, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", f"bench.{name}", *options, "--runs", "1", "--out", str(folder)],
        cwd=ROOT,
        env=environment({}),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["results"], done.stdout


def test_the_comparison_side_by_side_runs_and_every_refresh_is_counted_and_found_in_its_row(tmp_path: Path) -> None:
    contestants = ("--only", "naive-threads", "--only", "evergrant")
    rows, said = run(tmp_path, "side_by_side", *contestants, "--delays", "10", "--scale", "0.01")
    assert {row["kind"]: row["grants"] for row in rows} == {"naive-threads": 50, "evergrant": 200}
    assert all(row["per_second"]["median"] > 0 and row["refused"] == 0 for row in rows)
    assert "x the best naive form" in said


def test_several_workers_and_beats_do_nothing_twice(tmp_path: Path) -> None:
    rows, _ = run(tmp_path, "machines", "--workers", "2", "--beats", "2", "--grants", "100", "--idle", "0.5")
    (row,) = rows
    assert (row["presented_twice"], row["started_twice"]) == (0, 0)
    assert row["per_second"]["median"] > 0


def test_tokens_are_read_over_sql_and_over_http_and_no_read_scans_the_fleet(tmp_path: Path) -> None:
    ways = ("--only", "client-sql", "--only", "http")
    rows, _ = run(tmp_path, "reads", *ways, "--grants", "2000", "--askers", "2", "--seconds", "0.3")
    assert [row["kind"] for row in rows] == ["client-sql", "http"]
    assert all(row["per_second"]["median"] > 0 and row["scans_of_the_fleet"] == 0 for row in rows)
