"""Sieges for as long as one likes, each with a seed of its own, and the search of every sink after each of them."""

import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from tests.attacks.siege import Siege, facts
from worker.embedded.engines import Engines

# Which process may hold what in its environment: THE LIST. The URLs hold their passwords; the key rings lie in files.
# Where a setting is read from elsewhere, it leaves this list.
IN_ENVIRONMENTS = ("database password", "broker password")
Places = Iterable[tuple[str, bytes]]


def sinks(siege: Siege) -> Iterator[tuple[str, Places, tuple[str, ...]]]:
    """Each place where nothing may stand, what it holds, and what may stand there all the same."""
    home = siege.folder / "installation" / "home"
    yield "logs", siege.logs(), ()
    yield "broker", siege.broker(), ()
    yield "database", siege.database(), ()
    yield "journals", siege.files(home / "journals"), ()
    yield "command lines", [("a command line", line) for line in siege.command_lines], ()
    environments = [(name, each) for name, found in siege.environments.items() for each in found]
    yield "environments", environments, IN_ENVIRONMENTS
    yield "files", siege.files(siege.folder / "tmp", home), ()
    yield "pages", siege.pages, ()
    yield "commands", siege.said.items(), ()
    yield "answers", [(name, answer.body) for name, answer in siege.answers], ()


def findings(siege: Siege) -> list[str]:
    """Where a canary stands, and which; a sink that held nothing was not searched, and is one as well."""
    found = []
    for sink, places, but in sinks(siege):
        seek, searched = siege.canaries.seeker(but=but), 0
        for name, blob in places:
            searched += len(blob)
            found += [f"{sink}: {name}: {told}" for told in sorted(seek(blob))]
        if not searched:
            found.append(f"{sink}: nothing was there to be searched")
    return found + [f"commands: {name}: Traceback" for name, told in siege.said.items() if b"Traceback" in told]


def lay_one(folder: Path, seed: str) -> list[str]:
    """One siege on engines of its own."""
    folder.mkdir()
    with Engines(folder / "engines") as engines, Siege.of(folder, engines, seed=seed) as siege:
        siege.lay()
        found = findings(siege)
        asked = sum(facts(siege)["asked"].values())
    click.echo(f"{seed} ({siege.rotation}, lives of {siege.life.total_seconds():.0f} s): {asked} requests, ", nl=False)
    click.echo(f"{len(found)} findings")
    return found


@click.command()
@click.option("--minutes", default=60.0, show_default=True, help="No siege begins after them.")
@click.option("--seed", default="siege", show_default=True)
def main(*, minutes: float, seed: str) -> None:
    """Lay one siege after the other; the first in which a secret stands where it must not ends it."""
    folder = Path(tempfile.mkdtemp(prefix="evergrant-siege-"))
    deadline, number = time.monotonic() + minutes * 60, 0
    while time.monotonic() < deadline:
        number += 1
        if found := lay_one(folder / str(number), f"{seed}.{number}"):
            click.echo("\n".join([*found, f"all of it: {folder / str(number)}"]))
            sys.exit(1)
        shutil.rmtree(folder / str(number))
    click.echo(f"{number} sieges, nothing found")


if __name__ == "__main__":
    main()
