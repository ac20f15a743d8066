"""`evergrant providers list`: list the providers: the first ones that come with Evergrant and your own, or all."""

from typing import TYPE_CHECKING, Any

import click

from worker.cli import output
from worker.cli.commands import Command
from worker.cli.failures import ExitCode
from worker.cli.output import Column, json_option
from worker.cli.started import as_started
from worker.cli.units import rate

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = [
    Column("name"),
    Column("title", spare=2),
    Column("rotation", spare=1),
    Column("rate", spare=1),
    Column("body", spare=3),
    Column("file", spare=4),
]
BUNDLED = "bundled"
# What the list had before there was a catalogue: whoever reads it by a script gets these and their own.
FIRST = frozenset({"doorkeeper", "event-temple", "generic", "simulator"})


@click.command("list", cls=Command, changes=False, example="evergrant providers list\nevergrant providers list --all")
@click.option("--all", "every", is_flag=True, help="The whole catalogue.")
@json_option
def list_(*, every: bool, as_json: bool) -> None:
    """List the providers: the first ones that come with Evergrant and your own, or all."""
    import settings
    from tasks.oauth import provider as files

    folder = settings.current().provider_folder
    known = files.names(folder=folder)
    listed = [name for name in known if every or name in FIRST or origin(name) != BUNDLED]
    records = [_summary(name, folder) for name in listed]
    shown = records if as_json else [each for each in records if each["fault"] is None]
    output.rows(shown, COLUMNS, as_json=as_json, nothing="There is no provider file.")
    if len(listed) < len(known) and not as_json and output.on_terminal():
        click.echo(as_started(f"{len(known) - len(listed)} more: evergrant providers list --all"), err=True)
    bad = [each for each in records if each["fault"] is not None]
    for each in [] if as_json else bad:
        click.echo(f"{each['name']} cannot be used: {output.cell(each['fault'])}", err=True)
    if bad:
        raise click.exceptions.Exit(ExitCode.FAILED)


def _summary(name: str, folder: "Path") -> dict[str, Any]:
    """What the list says of a provider; of a file that cannot be used why, and nothing else."""
    from tasks.oauth import provider as files
    from tasks.oauth.errors import ProviderFileError

    try:
        found = files.load(name, folder=folder)
    except ProviderFileError as error:
        nothing = dict.fromkeys(("title", "rotation", "rate", "body"))
        return {"name": name, **nothing, "file": origin(name), "fault": str(error)}
    return {
        "name": found.name,
        "title": found.title,
        "rotation": found.rotation.value,
        "rate": rate(found.rate),
        "body": found.body.value,
        "file": origin(found.name),
        "fault": None,
    }


def origin(name: str) -> str:
    """Where a provider's file is."""
    import settings

    own = settings.current().provider_folder / f"{name}.toml"
    return str(own) if own.is_file() else BUNDLED
