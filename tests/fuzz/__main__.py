"""The long form: `python -m tests.fuzz --examples 1000000`, each batch with a seed of its own, spread over processes.

A finding is told with the input, as small as hypothesis could make it, and the command that tries its batch again; the
exit code is then 1. So it is where a door's process holds more at its end than after its first batches.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Final

from tests.fuzz.long_form import BATCH, Tried, tried

PART: Final = 10 * BATCH  # inputs of one process
# Of a hundred inputs so many are for that door; those over sockets are dearer.
SHARES: Final = {
    "messages": 20,
    "provider answers": 20,
    "token sets": 14,
    "provider heads": 4,
    "journals": 18,
    "provider files": 8,
    "import lines": 15,
    "web heads": 1,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _options(arguments)
    until = time.time() + options.minutes * 60
    parts = list(_parts(options))
    found: list[Tried] = []
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        asked = [pool.submit(tried, *part, until) for part in parts]
        for done in as_completed(asked):
            if time.time() > until:
                for each in asked:
                    each.cancel()  # to begin a process costs seconds
            if done.cancelled():
                continue
            one = done.result()
            found.append(one)
            if one.finding:
                _tell(f"{one.door}: {one.finding}")
    for name in SHARES:
        _tell_of(name, [one for one in found if one.door == name])
    findings = sum(bool(one.finding) for one in found)
    _tell(f"{sum(one.inputs for one in found)} inputs, {findings} findings")
    return 1 if findings else 0


def _parts(options: argparse.Namespace) -> Iterator[tuple[str, int, int]]:
    """Door, inputs and first seed of each process; one of each door first, so that little time is spread as well."""
    names = list(SHARES) if options.door == "all" else [options.door]
    whole = sum(SHARES[name] for name in names)
    left = {name: options.examples * SHARES[name] // whole for name in names}
    first = options.seed
    while any(left.values()):
        for name in names:
            part = min(PART, left[name])
            left[name] -= part
            if part:
                yield name, part, first
        first += PART // BATCH


def _tell_of(name: str, found: list[Tried]) -> None:
    if found:
        _tell(
            f"{name:<17}{sum(one.inputs for one in found):>9} inputs  {sum(one.seconds for one in found):>6.0f} s"
            f"  peak {max(one.peak for one in found) >> 20} MiB"
            f"  grown at most {max(one.grown for one in found) / (1 << 20):.1f} MiB"
        )


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--examples", type=int, default=1_000_000, help="inputs, of all doors together")
    parser.add_argument("--minutes", type=float, default=60, help="no batch begins later")
    parser.add_argument("--door", default="all", choices=["all", *SHARES])
    parser.add_argument("--seed", type=int, default=1, help="of the first batch; each further one has the next number")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    return parser.parse_args(arguments)


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
