"""`evergrant tickets list`: list the tickets of the last week, newest first."""

import click

from models.states.visit import TicketState
from worker.cli import output, session
from worker.cli.arguments import client_option
from worker.cli.commands import Command
from worker.cli.output import Column, json_option

COLUMNS = [
    Column("id"),
    Column("ref"),
    Column("client", spare=2),
    Column("state"),
    Column("reason"),
    Column("code", spare=1),
    Column("answered_at", "back", spare=6),
    Column("held_by", "held by", spare=6),
    Column("created_at", "made", spare=3),
    Column("created_by", "by", spare=4),
    Column("return_to", spare=5),
]


@click.command("list", cls=Command, changes=False, example="evergrant tickets list --ref customer-42")
@client_option
@click.option("--ref", help="Of this ref alone.")
@click.option("--state", type=click.Choice([*TicketState.meanings()]), help="In this state alone.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="So many at most.")
@json_option
def list_(*, client: str | None, ref: str | None, state: str | None, limit: int, as_json: bool) -> None:
    """List the tickets of the last week, newest first, with what became of each; the links themselves are nowhere.

    `reason` says in a word why one failed, `code` what the provider said. Of a customer who waits for their exchange
    `answered_at` says since when they are back, and `held_by` what is in the way, where something is.
    """
    from models.ticket_listing import listed
    from models.views import listing

    with session.reading() as connection:
        if client:
            listing.client_by_name(connection, client)
        found = [dict(row) for row in listed(connection, client=client, ref=ref, state=state, most=limit)]
    nothing = "There is no ticket; make one with `evergrant grants connect-link`."
    output.rows(found, COLUMNS, as_json=as_json, nothing=nothing)
