"""Upgrading: the last release keeps grants alive, is upgraded process by process, and taken back again, all under load.

    python -m tests.acceptance.upgrading --grants 1000 --lifetime 30 --rounds 3

Here the last release is what its users have: its wheel, in an environment of its own with the dependencies that it was
released with. The package index is asked for them. Prints what the provider, the database and the applications saw, and
exits 1 where anything is not as promised. The short form, test_upgrade.py, runs its code with our dependencies.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from tests.acceptance.conftest import QUICK
from tests.acceptance.installation import Installation
from tests.acceptance.keeping import Disturbance, Report, keep
from tests.acceptance.long_form import judged
from tests.acceptance.programs import Running
from tests.acceptance.providers import simulated
from tests.acceptance.releases import LAST, has_history, installed
from worker.embedded.engines import Engines


class Fleet:
    """Two workers and a beat of one release, each of which another release may follow."""

    def __init__(self, release: Installation) -> None:
        self.running = self._started(release)

    @staticmethod
    def _started(release: Installation) -> list[Running]:
        return [release.worker(), release.worker(), release.beat()]

    def followed_by(self, release: Installation) -> None:
        """One process after another: the next release's is ready before its forerunner is told to end."""
        before, self.running = self.running, []
        for start, forerunner in zip((release.worker, release.worker, release.beat), before, strict=True):
            self.running.append(start())
            assert forerunner.stop() == 0, forerunner.log.read_text(errors="replace")


def upgraded_and_taken_back(
    before: Installation, after: Installation, *, grants: int, lifetime: float, rounds: int = 1, profile: str
) -> Report:
    """Keep grants alive with `before`, then `after`, then `before` again, on the tables of `after`; `rounds` times."""
    before.command("db", "upgrade")
    fleet = Fleet(before)
    # Tables first, under the last release's processes: prepared statements and all.
    steps = [Disturbance(0.4 * lifetime, "the tables are upgraded", lambda: _upgrade(after))]
    for begin in (2.2 * lifetime * number for number in range(rounds)):
        steps += [
            Disturbance(begin + 0.8 * lifetime, "upgraded", lambda: fleet.followed_by(after)),
            Disturbance(begin + 1.8 * lifetime, "taken back", lambda: fleet.followed_by(before)),
        ]
    with simulated(profile, lifetime=lifetime) as provider:
        seconds = steps[-1].at + 1.2 * lifetime
        reports = keep(before, {"app": provider}, grants=grants, lifetime=lifetime, seconds=seconds, disturbances=steps)
    return reports["app"]


def _upgrade(installation: Installation) -> None:
    installation.command("db", "upgrade")


@click.command()
@click.option("--grants", default=1000, show_default=True)
@click.option("--lifetime", default=30, show_default=True, help="Of an access token, in seconds.")
@click.option("--rounds", default=1, show_default=True, help="Upgraded and taken back so often.")
@click.option("--profile", default="immediate", show_default=True, help="Of the simulator.")
@click.option("--commit", default=LAST, show_default=True, help="Of the last release.")
def upgrade(*, grants: int, lifetime: int, rounds: int, profile: str, commit: str) -> None:
    """Upgrade a fleet under load from the last release's wheel, and take it back; the provider judges."""
    if not has_history(commit):
        raise click.UsageError(f"This checkout's history lacks {commit}: fetch all of it.")  # noqa: TRY003
    folder = Path(tempfile.mkdtemp(prefix="evergrant-upgrade-"))
    click.echo(f"logs: {folder}")
    with _installation(folder) as after:
        empty = folder / "elsewhere"
        empty.mkdir()
        before = after.by(empty, installed(folder / "last-release", commit))
        try:
            report = upgraded_and_taken_back(
                before, after, grants=grants, lifetime=lifetime, rounds=rounds, profile=profile
            )
            faults = [*report.faults(), *_of_rows(before)]
        finally:
            before.close()
    judged(report.told(), faults)


@contextmanager
def _installation(folder: Path) -> Iterator[Installation]:
    with (folder / "engines.log").open("w") as log, Engines(folder / "engines", log=log) as engines:
        assert engines.database_url is not None
        assert engines.broker_url is not None
        yield Installation.prepared(
            folder / "installation", database_url=engines.database_url, broker_url=engines.broker_url, **QUICK
        )


def _of_rows(installation: Installation) -> Sequence[str]:
    found = installation.rows("select status, count(*) as n from evergrant.grants where status <> 'active' group by 1")
    return [f"{row['n']} grants are {row['status']}" for row in found]


if __name__ == "__main__":
    upgrade()
