"""`evergrant grants list`: list grants."""

from datetime import datetime, timedelta
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
    Column("client"),
    Column("status"),
    Column("access_expires_at", "expires at"),
    Column("due_at"),
    Column("expires_at", "must be renewed by"),
    Column("generation", "gen", number=True),
    Column("failures", number=True),
    Column("error"),
    Column("labels"),
]
# A reader sees how far away a time is before the time itself, and what counts in 80 columns.
ON_TERMINAL = [
    Column("ref"),
    Column("client", spare=3),
    Column("status"),
    Column("expires", spare=1),
    Column("due", spare=2),
    Column("generation", "gen", spare=4, number=True),
    Column("error", spare=1),
    Column("failures", spare=5, number=True),
    Column("access_expires_at", "expires at", spare=6),
    Column("due_at", spare=7),
    Column("expires_at", "must be renewed by", spare=8),
    Column("labels", spare=9),
]
SORTS = ("ref", "due", "expires", "failures", "created")  # a test holds them to models/views/listing.py


@click.command(
    "list",
    cls=Command,
    changes=False,
    example="""
    evergrant grants list --client temple --status needs_consent
    evergrant grants list --label org=8f2 --json
    evergrant grants list --failing --sort failures --limit 20
    evergrant grants list --expiring-within 14d
    """,
)
@client_option
@click.option(
    "--status", type=click.Choice([*GrantStatus.meanings(), "all"]), help="Without it all but the revoked are listed."
)
@label_option
@click.option("--due-within", type=Duration(), metavar="10m", help="Only what is due by then, and what is in back-off.")
@click.option(
    "--expiring-within",
    type=Duration(),
    metavar="14d",
    help="Only those whose refresh token or consent ends by then, and that renewing will not mend; of a life shorter"
    " than twice that, those in its second half; of an imported consent the end alone counts. With 14d they are"
    " those that `status` counts as expiring.",
)
@click.option("--failing", is_flag=True, help="Only those whose last refresh failed.")
@click.option("--sort", type=click.Choice(SORTS), default="ref", show_default=True, help="By what, over all clients.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="The first N, and no more.")
@json_option
def list_(
    *,
    client: str | None,
    status: str | None,
    labels: tuple[tuple[str, str], ...],
    due_within: timedelta | None,
    expiring_within: timedelta | None,
    failing: bool,
    sort: str,
    limit: int | None,
    as_json: bool,
) -> None:
    """List grants."""
    from models.views import fleet, listing

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
            failing=failing,
            sort=None if sort == SORTS[0] else sort,
            limit=limit,
        )
        at = fleet.clock(connection)["at"]
        records = (_shown(row, at, as_json=as_json) for row in found)
        columns = ON_TERMINAL if output.on_terminal() else COLUMNS
        output.rows(records, columns, as_json=as_json, nothing="No grant matches.")


def _shown(row: "RowMapping", at: datetime, *, as_json: bool) -> dict[str, Any]:
    found = record(row)
    if as_json:
        return found
    ends = [end for end in (row["consent_expires_at"], row["refresh_expires_at"]) if end is not None]
    error = row["last_error_code"] if row["failures"] or row["suspect_at"] else None
    if row["status"] == GrantStatus.NEEDS_CONSENT:
        error = row["reason"]
    away = {"expires": _away(found["access_expires_at"], at), "due": _away(found["due_at"], at)}
    return found | {"error": error, "expires_at": min(ends, default=None)} | away


def _away(when: datetime | None, at: datetime) -> str | None:
    """How far away a time is, where there is one."""
    return None if when is None else output.away(when, at)
