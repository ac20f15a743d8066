"""`evergrant clients show`: show a client, its endpoints and its valve."""

import click

from worker.cli import output, session
from worker.cli.clients.drift import sentence
from worker.cli.clients.record import endpoints, record_of
from worker.cli.commands import Command
from worker.cli.output import json_option


@click.command(cls=Command, example="evergrant clients show temple --json")
@click.argument("name")
@json_option
def show(name: str, *, as_json: bool) -> None:
    """Show a client, its endpoints and its valve."""
    from models.views import listing

    settings = session.prepared()
    with session.reading() as connection:
        row = listing.client_by_name(connection, name)
    record = record_of(row) | endpoints(row, settings)
    if not as_json:
        record["drift"] = [sentence(each) for each in record["drift"]]
    output.one(record, as_json=as_json)
