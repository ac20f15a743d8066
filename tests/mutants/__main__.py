"""`python -m tests.mutants`: apply the known wrong designs one at a time, and see that the tests turn red for each.

    python -m tests.mutants                       all
    python -m tests.mutants no_lock definite_503  these
    python -m tests.mutants simulation:           those that the simulation must find
    python -m tests.mutants --list

Each is an exact change of the product's source (an edit that no longer fits is an error), made in a copy of the tree.
The command that judges it is run without the change first, and must be green. Exit code 1 if one survives.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.catalogue import MUTANTS, SIMULATED_MUTANTS
from tests.mutants.mutant import Design
from tests.mutants.trial import Trials, Verdict


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _options(arguments)
    chosen = _chosen(options.names)
    if options.list:
        for each in chosen:
            _tell(f"{each.name:<36} {each.what}")
        return 0
    _tell("| mutant | what was changed | killed by | s |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="evergrant-mutants-") as folder:
        trials = Trials(Path(folder) / "tree")
        verdicts = [_judged(trials, each) for each in chosen]
    alive = [verdict.name for verdict in verdicts if not verdict.killed]
    _tell(f"\n{len(verdicts) - len(alive)} of {len(verdicts)} died" + (f"; alive: {', '.join(alive)}" if alive else ""))
    return 1 if alive else 0


def _judged(trials: Trials, mutant: Design) -> Verdict:
    verdict = trials.judge(mutant)
    end = verdict.by or (f"**no verdict** ({verdict.problem})" if verdict.problem else "**it survived**")
    _tell(f"| `{verdict.name}` | {verdict.what} | {end} | {verdict.seconds:.0f} |")
    return verdict


def _chosen(names: Sequence[str]) -> list[Design]:
    """Those named, or whose names begin so where a name ends with a colon; all where none is named."""
    everything: list[Design] = [*MUTANTS, *SIMULATED_MUTANTS]
    known = {each.name for each in everything}
    unknown = [name for name in names if name not in known and not name.endswith(":")]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; see --list")
    prefixes = tuple(name for name in names if name.endswith(":"))
    return [each for each in everything if not names or each.name in names or each.name.startswith(prefixes or ("-",))]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    description = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=description)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these; all without")
    parser.add_argument("--list", action="store_true", help="name them and run nothing")
    return parser.parse_args(arguments)


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
