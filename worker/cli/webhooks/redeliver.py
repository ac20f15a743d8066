"""`evergrant webhooks redeliver`: send deliveries once more."""

import click

from worker.cli import output, session
from worker.cli.commands import Command
from worker.cli.output import json_option


@click.command(cls=Command, example="evergrant webhooks redeliver 4711")
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=click.IntRange(min=1, max=2**63 - 1))
@json_option
def redeliver(ids: tuple[int, ...], *, as_json: bool) -> None:
    """Send deliveries once more, be they dead, waiting or delivered: at once, under the id that they had."""
    from models import webhook_delivery

    settings = session.prepared()
    with session.transaction() as connection:
        done = webhook_delivery.again(connection, list(dict.fromkeys(ids)), who=settings.who)
    told = f"{len(done)} {'delivery is' if len(done) == 1 else 'deliveries are'} sent again."
    if len(done) < len(set(ids)):
        told += " The others are being sent this moment."
    output.done({"ids": done, "redelivered": len(done)}, told, as_json=as_json)
