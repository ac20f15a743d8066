"""The crash loop in its short form; the long one is `python -m tests.crashes --rounds 10000`."""

import os
import re
import signal
import subprocess
import sys

from settings import PREFIX
from tests.crashes.points import POINTS
from tests.crashes.processes import ROOT

ROUNDS = 40


def test_processes_struck_at_every_step_lose_nothing_that_is_not_accounted_for() -> None:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    loop = subprocess.Popen(
        [sys.executable, "-m", "tests.crashes", "--rounds", str(ROUNDS), "--epoch", str(ROUNDS)],
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
    assert "grants lost" in told
    # A deck without repetition: as many different steps as there are rounds, nearly.
    struck = re.search(r"steps struck (\d+) of (\d+)", told)
    assert struck is not None
    assert int(struck[1]) >= ROUNDS // 3
    assert int(struck[2]) == len(POINTS)
