"""The comparison of the benchmarks runs: Evergrant beside the job that most teams write. How fast they are is not
looked at here."""

import json
import subprocess
import sys
from pathlib import Path

from tests.acceptance.programs import ROOT, environment


def test_the_comparison_side_by_side_runs_and_every_refresh_is_counted_and_found_in_its_row(tmp_path: Path) -> None:
    contestants = ("--only", "naive-threads", "--only", "evergrant")
    small = ("--delays", "10", "--runs", "1", "--scale", "0.01", "--out", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-m", "bench.side_by_side", *contestants, *small],
        cwd=ROOT,
        env=environment({}),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "side_by_side.json").read_text(encoding="utf-8"))["results"]
    assert {row["kind"]: row["grants"] for row in rows} == {"naive-threads": 50, "evergrant": 200}
    assert all(row["per_second"]["median"] > 0 and row["refused"] == 0 for row in rows)
    assert "x the best naive form" in done.stdout
