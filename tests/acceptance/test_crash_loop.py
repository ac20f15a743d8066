"""The crash loop in its short form; the long one is `python -m tests.crashes --rounds 10000`."""

import os
import re
import signal
import subprocess
import sys

import pytest

from settings import PREFIX
from tests.crashes.points import POINTS
from tests.crashes.processes import ROOT
from tests.model.spin import missing

ROUNDS = 40


def _told(module: str, *options: str) -> str:
    """What one of our commands says, in a process of its own; it must end well."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    loop = subprocess.Popen(
        [sys.executable, "-m", module, *options],
        cwd=ROOT,
        env=ours | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        told, _ = loop.communicate(timeout=240)
    finally:
        if loop.poll() is None:
            loop.send_signal(signal.SIGTERM)
            loop.wait(30)
    assert loop.returncode == 0, told
    return told


def test_processes_struck_at_every_step_lose_nothing_that_is_not_accounted_for() -> None:
    told = _told("tests.crashes", "--rounds", str(ROUNDS), "--epoch", str(ROUNDS))
    assert "grants lost" in told
    # A deck without repetition: as many different steps as there are rounds, nearly.
    struck = re.search(r"steps struck (\d+) of (\d+)", told)
    assert struck is not None
    assert int(struck[1]) >= ROUNDS // 3
    assert int(struck[2]) == len(POINTS)


def test_the_model_can_do_what_processes_under_strikes_were_seen_to_do() -> None:
    if lacking := missing():
        pytest.skip(f"not found: {' and '.join(lacking)}; see tests/model/spin.py")
    told = _told("tests.model.traces", "--profile", "on_use", "--episodes", "0", "--real", "10")
    assert re.search(r"^\| crash loop \| on_use \| +\d+ \|", told, re.MULTILINE)
    assert "as it must be" in told
