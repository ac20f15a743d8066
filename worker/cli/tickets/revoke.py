"""`evergrant tickets revoke`: take tickets back."""

from uuid import UUID

import click

from worker.cli import output, session
from worker.cli.commands import Command
from worker.cli.output import json_option


@click.command(cls=Command, example="evergrant tickets revoke 5d3c9a52-6f0e-4a53-9f0e-0a8f6d2f7c11")
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=click.UUID)
@json_option
def revoke(ids: tuple[UUID, ...], *, as_json: bool) -> None:
    """Take tickets back: their links lead nowhere any more. Whoever is at the provider by one comes back in vain."""
    from models import ticket

    settings = session.prepared()
    with session.transaction() as connection:
        ticket.revoke(connection, ids, who=settings.who)
    count = "1 ticket" if len(ids) == 1 else f"{len(ids)} tickets"
    output.done({"ids": [str(each) for each in ids], "revoked": True}, f"Took {count} back.", as_json=as_json)
