"""The crash loop: strike real processes at every step, let them recover, and ask the provider what was lost.

    python -m tests.crashes --rounds 10000
    python -m tests.crashes --rounds 200 --profile immediate --step journal.synced --seed 7

Strikes are drawn from the seed; what they hit depends on the machine as well. Exit status 1 where something went
wrong: its processes' logs are kept then.
"""

import argparse
import random
import secrets
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from tests.crashes.fleet import PROFILES, Fleet
from tests.crashes.loop import FROZEN_FOR, Loop, Report, Step
from tests.crashes.points import POINTS, Act
from tests.crashes.processes import Processes


def main() -> int:
    """Run the loop and tell what it came to."""
    asked = _arguments()
    report = Report(asked.seed)
    steps = [
        (point.name, act)
        for point in POINTS.values()
        for act in point.acts
        if point.name.startswith(asked.step) and act in asked.act
    ]
    if not steps:
        sys.exit(f"no step begins with {asked.step!r}; they are: {', '.join(POINTS)}")
    chance = random.Random(asked.seed)
    folder = Path(tempfile.mkdtemp(prefix="evergrant-crashes-"))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: leave nothing behind, and tell
    with (
        Fleet(folder, profiles=asked.profile or PROFILES, seed=asked.seed) as fleet,
        Processes(fleet.home, chance, frozen_for=FROZEN_FOR) as processes,
        suppress(KeyboardInterrupt),  # what was struck since the last verdict is not judged
    ):
        Loop(fleet, processes, chance, steps, report).run(asked.rounds, epoch=asked.epoch)
    sys.stdout.write("\n".join(told(report, steps)) + "\n")
    if report.wrongs:
        sys.stdout.write(f"the logs of its processes are in {folder / 'home' / 'logs'}\n")
        return 1
    shutil.rmtree(folder)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crashes", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100, metavar="N", help="strikes in all (100)")
    parser.add_argument("--epoch", type=int, default=120, metavar="N", help="strikes between two verdicts (120)")
    parser.add_argument("--profile", action="append", choices=PROFILES, help="only this one (all five at once)")
    parser.add_argument("--step", default="", metavar="S", help="only steps whose names begin so")
    parser.add_argument("--act", action="append", choices=list(Act), type=Act, help="only this (all)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), metavar="K", help="to repeat a run")
    asked = parser.parse_args()
    asked.act = asked.act or list(Act)
    return asked


def told(report: Report, steps: Sequence[Step]) -> Iterator[str]:
    """Tell what the rounds came to, line by line."""
    by_act = Counter({act: sum(n for (_, a), n in report.rounds.items() if a is act) for act in Act})
    struck = {point for point, _ in report.rounds}
    acts = ", ".join(f"{act} {count}" for act, count in by_act.items() if count)
    unjudged = report.rounds.total() - report.judged
    yield f"rounds {report.rounds.total()}{f', {unjudged} of them not judged' if unjudged else ''}: {acts}"
    yield f"seconds {report.seconds:.0f}"
    yield f"steps struck {len(struck)} of {len({point for point, _ in steps})}"
    yield f"kinds of strikes {len(report.rounds)} of {len(steps)}"
    missed = sorted(set(steps) - report.rounds.keys())
    if missed:
        yield "never struck: " + ", ".join(f"{point} ({act})" for point, act in missed)
    yield f"grants {report.grants}, requests {report.requests}; revocations {dict(report.evidences)}"
    yield f"requests frozen between the last guard and the last byte, past the lease: {report.frozen_requests}"
    yield f"longest rest until all had recovered {report.longest_rest:.1f} s"
    yield f"codes exchanged whose answer never reached our disk, so that the user must allow once more: {report.unborn}"
    yield f"grants lost {report.losses.total()}"
    yield from (f"  {count} at {profile}: {cause}" for (profile, cause), count in sorted(report.losses.items()))
    yield from (f"WRONG: {wrong}" for wrong in report.wrongs)
    yield f"seed {report.seed}"


if __name__ == "__main__":
    sys.exit(main())
