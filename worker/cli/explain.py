"""`evergrant explain`: why a grant is as it is, what happens next, and what to do."""

import click

from worker.cli import explaining, output, session
from worker.cli.arguments import client_option, ref_argument
from worker.cli.commands import Command
from worker.cli.output import json_option


@click.command(
    "explain",
    cls=Command,
    changes=False,
    example="""
    evergrant explain customer-42
    evergrant explain customer-42 --json | jq -r .command
    """,
)
@ref_argument
@client_option
@json_option
def explain_(ref: str, *, client: str | None, as_json: bool) -> None:
    """Why a grant is as it is.

    The outermost cause first, since when and by whom; what else holds; what happens next by itself and when; what to do
    about it, and the command to copy.
    """
    from models.views import fleet, listing

    with session.reading() as connection:
        located = listing.locate(connection, [ref], client)[0]
        told = explaining.explained(connection, located.id)
        at = fleet.clock(connection)["at"]
    if as_json:
        named = {"ref": located.ref, "client": located.client, "status": located.status, "at": at}
        output.one(named | explaining.record(told), as_json=True)
        return
    click.echo(f"{output.cell(located.ref)} of {located.client}: {located.status}, generation {located.generation}")
    for line in explaining.page(told, at=at):
        click.echo(line)
