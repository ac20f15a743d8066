"""`evergrant clients list`: list the clients, with how many grants each has and what stops it."""

import click

from worker.cli import output, session
from worker.cli.clients.record import record_of
from worker.cli.commands import Command
from worker.cli.output import Column, json_option

COLUMNS = [
    Column("name"),
    Column("provider", spare=1),
    Column("grants", number=True),
    Column("rate", spare=3),
    Column("rotation", spare=4),
    Column("keep", spare=5),
    Column("state"),
    Column("reason", spare=2),
]


@click.command("list", cls=Command, changes=False, example="evergrant clients list")
@json_option
def list_(*, as_json: bool) -> None:
    """List the clients, with how many grants each has and what stops it."""
    from models.views import listing

    with session.reading() as connection:
        records = [record_of(row) for row in listing.clients(connection)]
    output.rows(records, COLUMNS, as_json=as_json, nothing="There is no client yet; add one with `clients add`.")
