"""`evergrant grants list` and `show`."""

from datetime import timedelta
from functools import partial
from typing import Any

import click
from sqlalchemy import RowMapping

from models.sealing import key_use
from models.states.grant import GrantStatus
from models.views import listing
from worker.cli import keyrings, output, session
from worker.cli.arguments import Duration, client_option, grouped, label_option, ref_argument
from worker.cli.commands import Command
from worker.cli.grants import record
from worker.cli.output import Column, json_option

COLUMNS = [
    Column("ref"),
    Column("client", spare=3),
    Column("status"),
    Column("access_expires_at", "expires at", spare=1),
    Column("due_at", spare=2),
    Column("generation", "gen", spare=6, number=True),
    Column("failures", spare=4, number=True),
    Column("error", spare=5),
    Column("labels", spare=7),
]


@click.command(
    "list",
    cls=Command,
    example="""
    evergrant grants list --client temple --status needs_consent
    evergrant grants list --label org=8f2 --json
    """,
)
@client_option
@click.option(
    "--status", type=click.Choice([*GrantStatus.meanings(), "all"]), help="Without it all but the revoked are listed."
)
@label_option
@click.option("--due-within", type=Duration(), metavar="10m", help="Only what is due by then.")
@json_option
def list_(
    *,
    client: str | None,
    status: str | None,
    labels: tuple[tuple[str, str], ...],
    due_within: timedelta | None,
    as_json: bool,
) -> None:
    """List grants."""
    with session.reading() as connection:
        if client:
            listing.client_by_name(connection, client)
        found = listing.grants(connection, client=client, status=status, labels=grouped(labels), due_within=due_within)
        records = (_shown(row, as_json=as_json) for row in found)
        output.rows(records, COLUMNS, as_json=as_json, nothing="No grant matches.")


@click.command(cls=Command, example="evergrant grants show customer-42")
@ref_argument
@client_option
@json_option
def show(ref: str, *, client: str | None, as_json: bool) -> None:
    """Show one grant and what to do about it."""
    with session.reading() as connection:
        located = listing.locate(connection, [ref], client)[0]
        row = listing.grant(connection, located.id)
        missing = keyrings.missing_keys(connection, partial(key_use.missing_for, grant_id=located.id))
    more = {
        "id": row["id"],
        "provider": row["provider"],
        "keep": row["keep"],
        "under_way": row["under_way"],
        "in_doubt_since": row["doubt_since"],
        "suspect_since": row["suspect_at"],
        "failing_since": row["failing_since"],
        "former_tokens": row["former_tokens"],
        "dead_letters": row["dead_letters"] or [],
        "revocation": row["revocation"],
    }
    if missing:
        more |= {"missing_keys": [what for what, _ in missing], "next": missing[0][1]}
    output.one(record(row) | more, as_json=as_json)


def _shown(row: RowMapping, *, as_json: bool) -> dict[str, Any]:
    found = record(row)
    return found if as_json else found | {"error": row["last_error_code"] if row["failures"] else None}
