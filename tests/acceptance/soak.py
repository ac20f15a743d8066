"""Soak: the scenario of test_keeping_alive.py with larger numbers, for as long as one likes, on an `up` of its own.

    python -m tests.acceptance.soak --grants 300 --lifetime 20 --minutes 3 --profile on_use --faults
    python -m tests.acceptance.soak --grants 300 --lifetime 20 --minutes 3 --provider django

    python -m tests.acceptance.soak --grants 2000 --lifetime 20 --minutes 30 --faults --rounds 8

Prints what the provider, the database and the applications saw, what the machine held when it was warm and at the end,
and exits 1 where anything is not as promised or something has leaked.
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from tests.acceptance.keeping import Disturbance, keep, trouble
from tests.acceptance.leaks import Holdings, holdings
from tests.acceptance.long_form import judged
from tests.acceptance.one_machine import OneMachine
from tests.acceptance.providers import Provider, simulated, toolkit
from worker.embedded.engines import Engines

WARM = 2  # lives after the import: by then each part has done all that it does


@click.command()
@click.option("--grants", default=300, show_default=True)
@click.option("--lifetime", default=20, show_default=True, help="Of an access token, in seconds.")
@click.option("--minutes", default=3.0, show_default=True)
@click.option("--profile", default="on_use", show_default=True, help="Of the simulator; grace as grace:30.")
@click.option("--provider", type=click.Choice(["simulator", "django"]), default="simulator", show_default=True)
@click.option("--workers", default=2, show_default=True)
@click.option("--faults", is_flag=True, help="Kill workers, flush Valkey and stop PostgreSQL at once in between.")
@click.option("--rounds", default=1, show_default=True, help="How often each of these faults comes.")
def soak(
    *, grants: int, lifetime: int, minutes: float, profile: str, provider: str, workers: int, faults: bool, rounds: int
) -> None:
    """Keep grants alive on one machine, let the provider judge, and see what is held for ever."""
    warm: list[Holdings] = []
    folder = Path(tempfile.mkdtemp(prefix="evergrant-soak-"))
    click.echo(f"logs: {folder}")
    with ExitStack() as running:
        server = running.enter_context(
            _toolkit(folder, lifetime) if provider == "django" else simulated(profile, lifetime=lifetime)
        )
        machine = OneMachine.up(folder / "one-machine", workers=max(2, workers) if faults else workers)
        running.callback(machine.close)
        report = keep(
            machine,
            {"soak": server},
            grants=grants,
            lifetime=lifetime,
            seconds=60 * minutes,
            disturbances=[
                Disturbance(WARM * lifetime, "counting", lambda: warm.append(holdings(machine))),
                *(trouble(machine, first=12 * minutes, last=42 * minutes, rounds=rounds) if faults else []),
            ],
        )["soak"]
        held = holdings(machine)
    judged(f"{report.told()}\n{held.beside(warm[0])}", [*report.faults(disturbed=faults), *held.leaks(warm[0])])


@contextmanager
def _toolkit(folder: Path, lifetime: float) -> Iterator[Provider]:
    """Run django-oauth-toolkit on a PostgreSQL of its own: ours may be stopped."""
    with (
        Engines(folder / "toolkit", valkey=False) as engines,
        toolkit(folder, database_url=engines.database_url or "", lifetime=lifetime) as provider,
    ):
        yield provider


if __name__ == "__main__":
    soak()
