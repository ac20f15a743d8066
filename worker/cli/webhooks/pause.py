"""`evergrant webhooks pause`: send nothing to a webhook for now."""

import click

from worker.cli import output, session
from worker.cli.commands import Command
from worker.cli.output import json_option
from worker.cli.webhooks.record import id_argument, record_of


@click.command(cls=Command, example="evergrant webhooks pause 1")
@id_argument
@json_option
def pause(id: int, *, as_json: bool) -> None:  # noqa: A002  # as it is typed
    """Send nothing to it for now; what it is to be told waits, and is sent once it is resumed."""
    from models import webhook

    settings = session.prepared()
    with session.transaction() as connection:
        webhook.pause(connection, id, who=settings.who)
        record = record_of(webhook.found(connection, id))
    output.done(record, f"Webhook {id} is paused; what it is to be told waits.", as_json=as_json)
