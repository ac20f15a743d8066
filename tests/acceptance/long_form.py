"""The long form of a scenario: an `up` of its own in a new folder, what was seen in a line, and an exit code."""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import click

from tests.acceptance.one_machine import OneMachine


@contextmanager
def machine_for(name: str, *, workers: int = 1) -> Iterator[OneMachine]:
    """Run `evergrant up` in a new folder, which stays for whoever wants its logs."""
    folder = Path(tempfile.mkdtemp(prefix=f"evergrant-{name}-"))
    click.echo(f"logs: {folder}")
    machine = OneMachine.up(folder / "one-machine", workers=workers)
    try:
        yield machine
    finally:
        machine.close()


def judged(told: str, faults: Sequence[str]) -> NoReturn:
    """Tell what was seen and whatever is not as promised, and exit: 1 where something is not."""
    click.echo(told)
    for fault in faults:
        click.echo(f"NOT AS PROMISED: {fault}")
    sys.exit(1 if faults else 0)
