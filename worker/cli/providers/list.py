"""`evergrant providers list`: list the providers: those that come with Evergrant, and your own files."""

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


@click.command("list", cls=Command, example="evergrant providers list")
@json_option
def list_(*, as_json: bool) -> None:
    """List the providers: those that come with Evergrant, and your own files."""
    import settings
    from tasks.oauth import provider as files

    folder = settings.current().provider_folder
    records = [_summary(files.load(name, folder=folder)) for name in files.names(folder=folder)]
    output.rows(records, COLUMNS, as_json=as_json, nothing="There is no provider file.")


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
    return str(own) if own.is_file() else "bundled"
