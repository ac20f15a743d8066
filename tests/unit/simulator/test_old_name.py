"""The name of the bundled provider in 0.1: tests of other projects import it."""

import subprocess
import sys

USE = """
from worker.simulator.launch import simulator_thread
with simulator_thread() as control:
    print(control.summary()["grants"])
"""


def run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_what_was_imported_by_the_old_name_still_is_and_warns() -> None:
    assert "worker.simulator is called simulator now" in run("-W", "default", "-c", USE)


def test_the_old_name_still_runs() -> None:
    assert "--dialect" in run("-m", "worker.simulator", "--help")
