"""`evergrant grants list`: list grants."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from models.states.grant import GrantStatus
from worker.cli import output, session
from worker.cli.arguments import Duration, client_option, grouped, label_option
from worker.cli.commands import Command
from worker.cli.grants.record import record
from worker.cli.output import Column, json_option

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

COLUMNS = [
    Column("ref"),
    Column("client", spare=3),
    Column("status"),
    Column("access_expires_at", "expires at", spare=1),
    Column("due_at", spare=2),
    Column("expires_at", "must be renewed by", spare=8),
    Column("generation", "gen", spare=6, number=True),
    Column("failures", spare=4, number=True),
    Column("error", spare=5),
    Column("labels", spare=7),
]


@click.command(
    "list",
    cls=Command,
    changes=False,
    example="""
    evergrant grants list --client temple --status needs_consent
    evergrant grants list --label org=8f2 --json
    evergrant grants list --expiring-within 14d
    """,
)
@client_option
@click.option(
    "--status", type=click.Choice([*GrantStatus.meanings(), "all"]), help="Without it all but the revoked are listed."
)
@label_option
@click.option("--due-within", type=Duration(), metavar="10m", help="Only what is due by then.")
@click.option(
    "--expiring-within",
    type=Duration(),
    metavar="14d",
    help="Only those whose refresh token or consent ends by then, and that renewing will not mend.",
)
@json_option
def list_(
    *,
    client: str | None,
    status: str | None,
    labels: tuple[tuple[str, str], ...],
    due_within: timedelta | None,
    expiring_within: timedelta | None,
    as_json: bool,
) -> None:
    """List grants."""
    from models.views import listing

    with session.reading() as connection:
        if client:
            listing.client_by_name(connection, client)
        found = listing.grants(
            connection,
            client=client,
            status=status,
            labels=grouped(labels),
            due_within=due_within,
            expiring_within=expiring_within,
        )
        records = (_shown(row, as_json=as_json) for row in found)
        output.rows(records, COLUMNS, as_json=as_json, nothing="No grant matches.")


def _shown(row: "RowMapping", *, as_json: bool) -> dict[str, Any]:
    found = record(row)
    if as_json:
        return found
    ends = [end for end in (row["consent_expires_at"], row["refresh_expires_at"]) if end is not None]
    error = row["last_error_code"] if row["failures"] else None
    return found | {"error": error, "expires_at": min(ends, default=None)}
