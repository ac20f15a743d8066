"""`evergrant providers`: the authorization servers that are known."""

from typing import Any

import click

import settings
from tasks.oauth import provider as files
from worker.cli import output
from worker.cli.commands import Command
from worker.cli.output import Column, json_option

COLUMNS = [
    Column("name"),
    Column("title", spare=2),
    Column("rotation", spare=1),
    Column("rate", spare=1),
    Column("body", spare=3),
    Column("file", spare=4),
]


@click.group()
def providers() -> None:
    """The authorization servers that are known."""


@providers.command("list", cls=Command, example="evergrant providers list")
@json_option
def list_(*, as_json: bool) -> None:
    """List the providers: those that come with Evergrant, and your own files."""
    folder = settings.current().provider_folder
    records = [_summary(files.load(name, folder=folder)) for name in files.names(folder=folder)]
    output.rows(records, COLUMNS, as_json=as_json, nothing="There is no provider file.")


@providers.command(cls=Command, example="evergrant providers show event-temple")
@click.argument("name")
@json_option
def show(name: str, *, as_json: bool) -> None:
    """Show every habit of a provider, as its file and the defaults tell them."""
    found = files.load(name, folder=settings.current().provider_folder)
    record = found.model_dump(mode="json") | {"rate": rate(found.rate), "file": _origin(name)}
    output.one(record, as_json=as_json)


def rate(per_minute: float | None) -> str | None:
    """A rate as users write it: `100/minute`; None is no limit."""
    return None if per_minute is None else f"{per_minute:g}/minute"


def _summary(found: files.Provider) -> dict[str, Any]:
    return {
        "name": found.name,
        "title": found.title,
        "rotation": found.rotation.value,
        "rate": rate(found.rate),
        "body": found.body.value,
        "file": _origin(found.name),
    }


def _origin(name: str) -> str:
    own = settings.current().provider_folder / f"{name}.toml"
    return str(own) if own.is_file() else "bundled"
