"""A mutant: a known wrong design as a small exact change of the product's source, and what must turn red by it."""

from dataclasses import dataclass
from pathlib import Path


class Stale(Exception):
    """The text that an edit replaces is not there exactly once: the product has moved on, and the mutant must, too."""


@dataclass(frozen=True)
class Edit:
    """In the file at `path` the text `before`, which stands there once, becomes `after`."""

    path: str
    before: str
    after: str

    def applied_to(self, root: Path) -> str:
        """The changed text of the file.

        Raises:
            Stale: the edit does not fit.

        """
        text = (root / self.path).read_text(encoding="utf-8")
        if (found := text.count(self.before)) != 1:
            message = f"{self.path}: found {found} times instead of once: {self.before!r}"
            raise Stale(message)
        return text.replace(self.before, self.after)


@dataclass(frozen=True)
class Mutant:
    """A wrong design; `tests` are the pytest arguments of the shortest command that must turn red."""

    name: str
    what: str
    tests: tuple[str, ...]
    edits: tuple[Edit, ...] = ()

    @property
    def command(self) -> tuple[str, ...]:
        """The Python command that judges it; the same one must be green without the edits."""
        return ("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *self.tests)


@dataclass(frozen=True)
class Simulated:
    """A wrong design of tests/simulation/mutants.py, which the simulation alone must find."""

    name: str
    what: str
    simulation: str
    weather: str = "all"

    @property
    def command(self) -> tuple[str, ...]:
        """The Python command that judges it."""
        return (*SIMULATION, "--weather", self.weather, "--mutant", self.simulation)


Design = Mutant | Simulated
# Many short episodes: each has a weather of its own.
SIMULATION = ("-m", "tests.simulation", "--seed", "mend", "--refreshes", "20000", "--episode", "400")
