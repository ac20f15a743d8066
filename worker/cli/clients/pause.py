"""`evergrant clients pause`, and how a valve is turned by hand."""

from collections.abc import Callable

import click

from worker.cli import output, session
from worker.cli.clients.record import record_of
from worker.cli.commands import Command
from worker.cli.output import json_option


@click.command(cls=Command, example="evergrant clients pause temple")
@click.argument("name")
@json_option
def pause(name: str, *, as_json: bool) -> None:
    """Stop everything that is sent for a client, revocations excepted."""
    from models import operator_actions

    turn(
        name,
        operator_actions.pause_client,
        "{name} is paused; resume it: evergrant clients resume {name}.",
        as_json=as_json,
    )


def turn(name: str, change: Callable[..., None], told: str, *, as_json: bool) -> None:
    """Carry out what an operator wants of a client's valve, and tell it, and who waits for its turn there."""
    from models import waking
    from models.views import listing

    settings = session.prepared()
    with session.transaction() as connection:
        row = listing.client_by_name(connection, name)
        change(connection, row["id"], who=settings.who)
        due = waking.due(connection, row["id"])
        record = record_of(listing.client_by_name(connection, name)) | {"due": due}
    waits = f" {due} {'grant is' if due == 1 else 'grants are'} due." if due else ""
    output.done(record, told.format(name=name) + waits, as_json=as_json)
