"""`python -m tests.model.traces`: can the model do what runs of the code were seen to do?

    python -m tests.model.traces                              the simulation, all profiles, and forged traces
    python -m tests.model.traces --real 120                   as well as the crash loop, for so many strikes
    python -m tests.model.traces --profile grace --seed 7     one profile, other episodes
    python -m tests.model.traces --mutants                    and the simulation of wrong designs: some trace is refused

Needs spin and gcc. What a trace is, and what has none: docs/explanation/model.md.
Exit code 1 if a trace is refused that was seen, or one accepted that was made wrong; 2 if nothing can be said.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from tests.model.catalogue import PROFILES
from tests.model.spin import Broken, Missing, check_tools
from tests.model.traces.collected import Collected, of_simulation
from tests.model.traces.report import Report
from tests.model.traces.search import following

# Each is seen where its profile and its weather give it reason; their names are those of tests/simulation/mutants.py.
MUTANTS = {
    "no_lease_check": "on_use",
    "no_claim_cas": "on_use",
    "stale_success_rejected": "on_use",
    "surplus_dropped": "on_use",
    "not_journaled": "immediate",
    "marked_too_early": "immediate",
    "drained_unread": "immediate",
    "doubt_forgotten": "family",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _options(arguments)
    report = Report()
    try:
        check_tools()
        report.begin()
        for collected in _collected(options):
            _follow(report, collected)
        if options.mutants:
            _mutants(report, options)
    except (Missing, Broken) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    report.end()
    return 1 if report.wrong else 0


def _collected(options: argparse.Namespace) -> list[Collected]:
    profiles = [options.profile] if options.profile else list(PROFILES)
    found = list(of_simulation(profiles, options.seed, options.episodes, options.refreshes, options.processes))
    if options.real:
        from tests.model.traces.real import of_crash_loop  # only here PostgreSQL is needed

        found += of_crash_loop(options.real, profiles=profiles)
    return [each for each in found if each.windows]


def _follow(report: Report, collected: Collected) -> None:
    with following(collected.profile) as follower:
        report.followed(collected, list(follower.follow(list(collected.windows))))
        report.forged(collected, follower)


def _mutants(report: Report, options: argparse.Namespace) -> None:
    for name, profile in MUTANTS.items():
        if options.profile in (None, profile):
            (found,) = of_simulation(
                [profile], options.seed, options.episodes, options.refreshes, options.processes, mutant=name
            )
            with following(profile) as follower:
                report.mutant(name, found, list(follower.follow(list(found.windows))))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    description = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m tests.model.traces", description=description)
    parser.add_argument("--seed", default="1", help="of the simulation's episodes (1)")
    parser.add_argument("--profile", choices=PROFILES, help="only this rotation profile")
    parser.add_argument("--episodes", type=int, default=6, metavar="N", help="of the simulation, of each profile (6)")
    parser.add_argument("--refreshes", type=int, default=150, metavar="N", help="of an episode (150)")
    parser.add_argument("--real", type=int, default=0, metavar="N", help="strikes of the crash loop (none)")
    parser.add_argument("--mutants", action="store_true", help="the simulation of wrong designs, too")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, metavar="N", help="that simulate")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: leave nothing behind
    sys.exit(main())
