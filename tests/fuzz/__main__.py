"""The long form: `python -m tests.fuzz --examples 1000000`, each batch with a seed of its own, spread over processes.

A finding is told with the input, as small as hypothesis could make it, and the command that tries its batch again; the
exit code is then 1. So it is where a door's process holds more at its end than after its first batches.
"""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Final

from tests.fuzz.long_form import tried

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
    names = list(SHARES) if options.door == "all" else [options.door]
    whole = sum(SHARES[name] for name in names)
    findings, inputs = 0, 0
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        asked = [
            pool.submit(tried, name, options.examples * SHARES[name] // whole, options.seed, until) for name in names
        ]
        for done in as_completed(asked):
            one = done.result()
            inputs += one.inputs
            findings += bool(one.finding)
            _tell(
                f"{one.door:<17}{one.inputs:>9} inputs  {one.seconds:>6.0f} s  peak {one.peak >> 20} MiB"
                f"  grown {one.grown / (1 << 20):.1f} MiB{one.finding}"
            )
    _tell(f"{inputs} inputs, {findings} findings")
    return 1 if findings else 0


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
