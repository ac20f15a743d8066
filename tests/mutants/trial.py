"""Trials: the product is copied, a mutant is applied to the copy, and its command is run there."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mutant import SIMULATION, Design, Edit, Mutant

ROOT = Path(__file__).resolve().parents[2]
LEFT_BEHIND = shutil.ignore_patterns(
    ".git", ".venv*", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info", "dist", "build", "node_modules"
)
SECONDS_AT_MOST = 900
FAILED = re.compile(r"^FAILED (\S+)", re.MULTILINE)
VIOLATED = re.compile(r"^VIOLATION of (.+)$", re.MULTILINE)
EPISODE = re.compile(r"again: .*(--seed \S+ --profile \S+)", re.MULTILINE)
RED = 1  # of pytest: a test failed; of the simulation: an invariant was violated. Anything else is no verdict.


@dataclass(frozen=True)
class Verdict:
    """How a mutant fared: `by` says what turned red, `problem` why nothing can be said."""

    name: str
    what: str
    seconds: float
    by: str = ""
    problem: str = ""

    @property
    def killed(self) -> bool:
        """Whether the tests saw it."""
        return bool(self.by)


@dataclass(frozen=True)
class _Run:
    code: int | None  # None: it took too long
    output: str

    @property
    def last(self) -> str:
        lines = [line for line in self.output.splitlines() if line.strip()]
        return "too slow" if self.code is None else f"exit code {self.code}: {lines[-1] if lines else 'no output'}"


class Trials:
    """One copy of the tree, mutated and mended again and again."""

    def __init__(self, tree: Path) -> None:
        self._tree = tree
        self._green: dict[tuple[str, ...], str] = {}
        shutil.copytree(ROOT, tree, ignore=LEFT_BEHIND)

    def judge(self, mutant: Design) -> Verdict:
        """Try one mutant: its command must be green without it and red with it.

        Raises:
            Stale: an edit does not fit any longer.

        """
        begun = time.monotonic()
        edits = mutant.edits if isinstance(mutant, Mutant) else ()
        problem = self._without(mutant)
        by = ""
        if not problem:
            begun = time.monotonic()
            with self._applied(edits):
                run = self._run(mutant.command)
            by = _killer(run)
            problem = "" if by or run.code == 0 else run.last
        return Verdict(mutant.name, mutant.what, time.monotonic() - begun, by, problem)

    def _without(self, mutant: Design) -> str:
        """What is wrong with the command on the product as it is; each is run once."""
        command = mutant.command if isinstance(mutant, Mutant) else SIMULATION
        if command not in self._green:
            run = self._run(command)
            self._green[command] = "" if run.code == 0 else f"not green without the mutant: {run.last}"
        return self._green[command]

    @contextmanager
    def _applied(self, edits: tuple[Edit, ...]) -> Iterator[None]:
        before = {edit.path: (self._tree / edit.path).read_text(encoding="utf-8") for edit in edits}
        try:
            for edit in edits:
                (self._tree / edit.path).write_text(edit.applied_to(self._tree), encoding="utf-8")
            yield
        finally:
            for path, text in before.items():
                (self._tree / path).write_text(text, encoding="utf-8")

    def _run(self, command: tuple[str, ...]) -> _Run:
        # Two edits within a second may leave a file's time and size as they were: so no compiled file is kept.
        changed = {"PYTHONPATH": str(self._tree), "PYTHONDONTWRITEBYTECODE": "1"}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")} | changed
        try:
            done = subprocess.run(
                [sys.executable, *command],
                cwd=self._tree,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=SECONDS_AT_MOST,
            )
        except subprocess.TimeoutExpired:
            return _Run(None, "")
        return _Run(done.returncode, done.stdout)


def _killer(run: _Run) -> str:
    """The test or the invariant that turned red, if one did."""
    if run.code != RED:
        return ""
    found = FAILED.search(run.output)
    if found is not None:
        return found[1]
    told, again = VIOLATED.search(run.output), EPISODE.search(run.output)
    return "" if told is None or again is None else f"{told[1]} ({again[1]})"
