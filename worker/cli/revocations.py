"""`evergrant revocations`: grants on their way to the end."""

from typing import Any

import click
from sqlalchemy import Connection, RowMapping

from models.states.revocation import RevocationStatus
from models.views import history, listing
from worker.cli import output, session
from worker.cli.arguments import client_option
from worker.cli.commands import Command
from worker.cli.failures import ExitCode, Failure
from worker.cli.grants import last_error
from worker.cli.history import records
from worker.cli.history import show as show_history
from worker.cli.output import Column, json_option

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


@click.group()
def revocations() -> None:
    """Grants on their way to the end."""


@revocations.command("list", cls=Command, example="evergrant revocations list --status queued")
@client_option
@click.option("--status", type=click.Choice([*RevocationStatus.meanings()]), help="Only these.")
@json_option
def list_(*, client: str | None, status: str | None, as_json: bool) -> None:
    """List the revocations, oldest first."""
    with session.reading() as connection:
        if client:
            listing.client_by_name(connection, client)
        found = listing.revocations(connection, client=client, status=status)
        output.rows(map(record, found), COLUMNS, as_json=as_json, nothing="No revocation matches.")


@revocations.command(cls=Command, example="evergrant revocations show 7")
@click.argument("id", type=int)
@json_option
def show(id: int, *, as_json: bool) -> None:  # noqa: A002  # the name that users see
    """Show one revocation, how it is known to have worked, and what happened to its grant since.

    `because` says why the evidence is no better: ever_in_doubt (an answer was lost, which may have held a pair),
    predecessors_dropped (more pairs than are kept may have lived), older_access_tokens (a revocation kills one pair at
    this provider, and an access token that was replaced may live until access_tokens_end_by), no_way_to_look,
    no_revocation_endpoint.
    """
    with session.reading() as connection:
        row = listing.revocation(connection, id)
        if row is None:
            raise Failure(
                code="unknown_revocation",
                message=f"There is no revocation {id}",
                next_step="see `evergrant revocations list`",
                exit_code=ExitCode.NOT_FOUND,
            )
        more = _more(connection, row)
        happened = list(history.of_grants(connection, [row["grant_id"]], since=row["requested_at"]))
    if as_json:
        output.one(record(row) | more | {"history": records(happened)}, as_json=True)
        return
    output.one(record(row) | more, as_json=False)
    click.echo()
    show_history(happened)


def _more(connection: Connection, row: RowMapping) -> dict[str, Any]:
    because, end_by = history.end(connection, row["grant_id"])
    return {
        "because": because,
        "access_tokens_end_by": end_by,
        "pairs": history.pairs(connection, row["grant_id"]),
        "requested_by": row["requested_by"],
        "due_at": row["due_at"],
        "last_error": last_error(row),
        "grant_id": row["grant_id"],
    }


def record(row: RowMapping) -> dict[str, Any]:
    """A revocation as JSON and tables show it."""
    names = ("id", "ref", "client", "reason", "status", "evidence", "attempts", "requested_at", "done_at")
    return {name: row[name] for name in names}
