"""`evergrant webhooks resume`: send to a webhook again."""

import click

from worker.cli import output, session
from worker.cli.commands import Command
from worker.cli.output import json_option
from worker.cli.webhooks.record import id_argument, record_of


@click.command(cls=Command, example="evergrant webhooks resume 1")
@id_argument
@json_option
def resume(id: int, *, as_json: bool) -> None:  # noqa: A002  # as it is typed
    """Send to it again, at once, and all that it has missed.

    Also where it was paused by itself, and where this database is a copy that another environment told it from.
    """
    from models import webhook

    settings = session.prepared()
    with session.transaction() as connection:
        webhook.resume(connection, id, who=settings.who)
        record = record_of(webhook.found(connection, id))
    output.done(record, f"Webhook {id} is told again; {record['queued']} wait for it.", as_json=as_json)
