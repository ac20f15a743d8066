"""`evergrant revocations list`, and how one is shown."""

from typing import TYPE_CHECKING, Any

import click

from worker.cli import output, session
from worker.cli.arguments import client_option
from worker.cli.commands import Command
from worker.cli.output import Column, json_option

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

COLUMNS = [
    Column("id", number=True),
    Column("ref"),
    Column("client", spare=1),
    Column("status"),
    Column("evidence", spare=2),
    Column("attempts", spare=4, number=True),
    Column("requested_at", spare=3),
    Column("done_at", spare=3),
    Column("reason", spare=5),
]


@click.command("list", cls=Command, changes=False, example="evergrant revocations list --status queued")
@client_option
@click.option("--status", type=click.Choice(["queued", "waiting", "done", "dead", "held"]), help="Only these.")
@json_option
def list_(*, client: str | None, status: str | None, as_json: bool) -> None:
    """List the revocations, oldest first; `held` is one that `clients accept-revocations` lets go on."""
    from models.views import listing

    with session.reading() as connection:
        if client:
            listing.client_by_name(connection, client)
        found = listing.revocations(connection, client=client, status=status)
        output.rows(map(record, found), COLUMNS, as_json=as_json, nothing="No revocation matches.")


def record(row: "RowMapping") -> dict[str, Any]:
    """A revocation as JSON and tables show it."""
    names = ("id", "ref", "client", "reason", "status", "evidence", "attempts", "requested_at", "done_at")
    return {name: row[name] for name in names}
