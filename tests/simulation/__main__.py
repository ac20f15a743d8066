"""`python -m tests.simulation --seed 1 --refreshes 1000000 --profile all`: play episodes, judge them, report.

A run is many episodes, each with a seed of its own (`SEED.NUMBER`), spread over processes. A violation is told with
the grant's story and the command that plays its episode again; the exit code is then 1.
"""

import argparse
import gc
import os
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from typing import TextIO

from tests.simulation.likeness import PREFIX, playable
from tests.simulation.mutants import MUTANTS, applied
from tests.simulation.play import Result, play
from tests.simulation.profiles import PROFILES
from tests.simulation.report import Report
from tests.simulation.weather import WEATHERS

EPISODE = 1000  # refreshes; restores make long episodes dear, for every journal is then replayed from its beginning
AHEAD = 16  # episodes that wait for each process: results come in order, and one may last as long as ten others

Job = tuple[str, str, int, str, str]  # seed, profile, refreshes, weather, mutant


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _options(arguments)
    report, begun = Report(), time.monotonic()
    jobs = _jobs(options)
    for result in _played(jobs, options.processes, verbose=options.verbose):
        report.add(result)
        if options.progress:
            _tell(report.line(), sys.stderr)
        if result.violation:
            _tell(report.violation(result, options.mutant))
            if not options.keep_going:
                break
    _tell(report.text(time.monotonic() - begun))
    return 1 if report.violations else 0


def _tell(text: str, stream: TextIO = sys.stdout) -> None:
    stream.write(f"{text}\n")
    stream.flush()


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", default="1", help="of the run, or SEED.NUMBER: that one episode")
    parser.add_argument("--refreshes", type=int, default=20_000, help="of all profiles together")
    parser.add_argument("--profile", default="all", choices=["all", *PROFILES])
    parser.add_argument("--like", default="", metavar="NAME", help="the provider of this file, or `every` one")
    parser.add_argument(
        "--weather", default="all", choices=list(WEATHERS), help="what may happen: deaths alone, or all"
    )
    parser.add_argument("--episode", type=int, default=EPISODE, help="refreshes of one episode")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--mutant", default="", choices=["", *MUTANTS], help="a wrong design that must be found")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first violation")
    parser.add_argument("--progress", action="store_true", help="a line for each episode on standard error")
    parser.add_argument("--verbose", action="store_true", help="print the whole log (one process)")
    return parser.parse_args(arguments)


def _jobs(options: argparse.Namespace) -> Iterator[Job]:
    profiles = _profiles(options)
    if "." in options.seed:
        return iter([(options.seed, profile, options.episode, options.weather, options.mutant) for profile in profiles])
    episodes = max(1, -(-options.refreshes // (options.episode * len(profiles))))
    return (
        (f"{options.seed}.{number}", profile, options.episode, options.weather, options.mutant)
        for number in range(1, episodes + 1)
        for profile in profiles
    )


def _profiles(options: argparse.Namespace) -> list[str]:
    if options.like:
        return [f"{PREFIX}{name}" for name in (playable() if options.like == "every" else [options.like])]
    return list(PROFILES) if options.profile == "all" else [options.profile]


def _played(jobs: Iterator[Job], processes: int, *, verbose: bool) -> Iterable[Result]:
    if processes == 1 or verbose:
        yield from (_play(job, verbose=verbose) for job in jobs)
        return
    with ProcessPoolExecutor(processes) as pool:
        waiting = [pool.submit(_play, job) for job in islice(jobs, processes * AHEAD)]
        while waiting:
            # In order, so that two runs of a seed report the same.
            yield waiting.pop(0).result()
            waiting += [pool.submit(_play, job) for job in islice(jobs, 1)]


def _play(job: Job, *, verbose: bool = False) -> Result:
    seed, profile, refreshes, kind, mutant = job
    begun = time.process_time()
    gc.collect()
    gc.freeze()  # what is loaded stays: looking through it again costs as much as a hundred refreshes
    gc.disable()  # an episode is small, and looking for its cycles costs a tenth of the time
    try:
        with applied(mutant):
            result = play(seed, profile, refreshes=refreshes, tell=_tell if verbose else None, kind=kind)
    finally:
        gc.enable()
    result.cpu = time.process_time() - begun
    return result


if __name__ == "__main__":
    sys.exit(main())
