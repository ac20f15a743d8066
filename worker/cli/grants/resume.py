"""`evergrant grants resume`: go on refreshing paused grants."""

from typing import TYPE_CHECKING

import click

from worker.cli import session
from worker.cli.arguments import client_option, read_refs
from worker.cli.commands import Command
from worker.cli.failures import misuse
from worker.cli.grants.pause import statuses, tell_statuses
from worker.cli.output import json_option

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from models.views.listing import Located


@click.command(
    cls=Command,
    example="""
    evergrant grants resume customer-42
    evergrant grants resume --client temple
    """,
    short_help="Go on refreshing paused grants.",
)
@click.argument("refs", metavar="[REF...]", nargs=-1)
@client_option
@json_option
def resume(refs: tuple[str, ...], *, client: str | None, as_json: bool) -> None:
    """Go on refreshing paused grants: those named, or all of a client."""
    from models import operator_actions
    from models.views import listing

    settings = session.prepared()
    with session.transaction() as connection:
        if refs:
            located = listing.locate(connection, read_refs(refs), client)
        elif client:
            located = _paused_of(connection, client)
        else:
            raise misuse(message="Nothing was named", next_step="name refs, or a client with --client")
        operator_actions.resume_grants(connection, [each.id for each in located], who=settings.who)
        after = statuses(connection, located)
    if not located:
        click.echo("Nothing to resume; a grant that was handed over is resumed by its ref alone.", err=True)
    tell_statuses(located, after, wanted="active", as_json=as_json)


def _paused_of(connection: "Connection", client: str) -> "list[Located]":
    from models import operator_actions
    from models.views import listing

    client_id = listing.client_by_name(connection, client)["id"]
    return listing.located_by_id(connection, operator_actions.paused_grants(connection, client_id))
