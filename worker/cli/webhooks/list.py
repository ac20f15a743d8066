"""`evergrant webhooks list`: list the webhooks, and how it goes with each."""

import click

from worker.cli import output, session
from worker.cli.commands import Command
from worker.cli.output import Column, json_option
from worker.cli.webhooks.record import record_of

COLUMNS = [
    Column("id", number=True),
    Column("url"),
    Column("state"),
    Column("queued", number=True),
    Column("dead", spare=2, number=True),
    Column("last_code", "last", spare=1),
    Column("types", spare=4),
    Column("clients", spare=5),
    Column("last_success_at", "reached", spare=3),
    Column("created_by", spare=6),
]


@click.command("list", cls=Command, changes=False, example="evergrant webhooks list --json")
@json_option
def list_(*, as_json: bool) -> None:
    """List the webhooks, and how it goes with each.

    The state is `open`, `failing`, `paused`, or `behind`: a hundred thousand deliveries wait, and events are queued for
    it again once it has caught up. It was paused by itself where it is `gone` (410) or `unreachable` (for three days),
    and it is `foreign` where this database is a copy of the one that it was made in.
    """
    from models import webhook

    with session.reading() as connection:
        records = [record_of(row) for row in webhook.listed(connection)]
    nothing = "Nobody is told anything; add a URL with `evergrant webhooks add`."
    output.rows(records, COLUMNS, as_json=as_json, nothing=nothing)
