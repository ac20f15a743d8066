"""`evergrant webhooks remove`: tell a webhook nothing any more."""

import click

from worker.cli import output, session
from worker.cli.arguments import confirm, yes_option
from worker.cli.commands import Command
from worker.cli.output import json_option
from worker.cli.webhooks.record import id_argument


@click.command(cls=Command, example="evergrant webhooks remove 1")
@id_argument
@yes_option
@json_option
def remove(id: int, *, yes: bool, as_json: bool) -> None:  # noqa: A002  # as it is typed
    """Tell it nothing any more, and forget its secret and what was on its way."""
    from models import webhook

    settings = session.prepared()
    with session.reading() as connection:
        queued = webhook.found(connection, id)["queued"]
    confirm(f"Tell webhook {id} nothing any more? {queued} deliveries are on their way.", yes=yes)
    with session.transaction() as connection:
        dropped = webhook.remove(connection, id, who=settings.who)
    record = {"id": id, "removed": True, "dropped": dropped}
    output.done(record, f"Removed webhook {id}; {dropped} deliveries were dropped.", as_json=as_json)
