"""`evergrant revocations show`: one revocation, its evidence, and what happened since."""

from typing import TYPE_CHECKING, Any

import click

from worker.cli import output, session
from worker.cli.commands import Command
from worker.cli.failures import ExitCode, Failure
from worker.cli.grants.history import records
from worker.cli.grants.history import show as show_history
from worker.cli.grants.record import last_error
from worker.cli.output import json_option
from worker.cli.revocations.list import record

if TYPE_CHECKING:
    from sqlalchemy import Connection, RowMapping


@click.command(cls=Command, changes=False, example="evergrant revocations show 7")
@click.argument("id", type=int)
@json_option
def show(id: int, *, as_json: bool) -> None:  # noqa: A002  # the name that users see
    """Show one revocation, how it is known to have worked, and what happened to its grant since.

    `because` says why the evidence is no better: ever_in_doubt (an answer was lost, which may have held a pair),
    predecessors_dropped (more pairs than are kept may have lived), older_access_tokens (a revocation kills one pair at
    this provider, and an access token that was replaced may live until access_tokens_end_by), access_tokens_live_on
    (it kills the refresh token alone there), no_way_to_look, no_revocation_endpoint.
    """
    from models.views import history, listing

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


def _more(connection: "Connection", row: "RowMapping") -> dict[str, Any]:
    from models.views import history

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
