"""`evergrant providers list`: list the providers: the first ones that come with Evergrant and your own, or all."""

from typing import TYPE_CHECKING, Any

import click

from worker.cli import output
from worker.cli.commands import Command
from worker.cli.output import Column, json_option
from worker.cli.units import rate

if TYPE_CHECKING:
    from tasks.oauth import provider as files

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
    records = [_summary(files.load(name, folder=folder)) for name in listed]
    output.rows(records, COLUMNS, as_json=as_json, nothing="There is no provider file.")
    if len(listed) < len(known) and not as_json and output.on_terminal():
        click.echo(f"{len(known) - len(listed)} more: evergrant providers list --all", err=True)


def _summary(found: "files.Provider") -> dict[str, Any]:
    return {
        "name": found.name,
        "title": found.title,
        "rotation": found.rotation.value,
        "rate": rate(found.rate),
        "body": found.body.value,
        "file": origin(found.name),
    }


def origin(name: str) -> str:
    """Where a provider's file is."""
    import settings

    own = settings.current().provider_folder / f"{name}.toml"
    return str(own) if own.is_file() else BUNDLED
