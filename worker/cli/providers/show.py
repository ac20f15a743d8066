"""`evergrant providers show`: show every habit of a provider, as its file and the defaults tell them."""

import click

from worker.cli import output
from worker.cli.commands import Command
from worker.cli.output import json_option
from worker.cli.providers.list import origin
from worker.cli.units import rate


@click.command(cls=Command, example="evergrant providers show event-temple")
@click.argument("name")
@json_option
def show(name: str, *, as_json: bool) -> None:
    """Show every habit of a provider, as its file and the defaults tell them."""
    import settings
    from tasks.oauth import provider as files

    found = files.load(name, folder=settings.current().provider_folder)
    record = found.model_dump(mode="json") | {"rate": rate(found.rate), "file": origin(name)}
    output.one(record, as_json=as_json)
