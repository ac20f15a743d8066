"""`evergrant journals list`: the journals that are not drained, and who waits for them."""

from typing import TYPE_CHECKING, Any

import click

from models.states.journal import JournalState
from worker.cli import output, session
from worker.cli.commands import Command
from worker.cli.output import Column, json_option

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

COLUMNS = [
    Column("id", number=True),
    Column("host", spare=1),
    Column("process", spare=2),
    Column("state"),
    Column("grants_waiting", "waiting", number=True),
    Column("seen_at", spare=3),
    Column("opened_at", spare=4),
]


@click.command("list", cls=Command, changes=False, example="evergrant journals list --json")
@click.option("--all", "everything", is_flag=True, help="Those that are drained or abandoned as well.")
@json_option
def list_(*, everything: bool, as_json: bool) -> None:
    """List the journals that are not drained, who holds each, and how many grants in doubt wait for it."""
    from models.views import listing

    with session.reading() as connection:
        records = [_record(row) for row in listing.journals(connection)]
    shown = [each for each in records if everything or each["state"] == JournalState.OPEN]
    output.rows(shown, COLUMNS, as_json=as_json, nothing="No journal is open: every one is drained.")


def _record(row: "RowMapping") -> dict[str, Any]:
    ended = JournalState.ABANDONED if row["abandoned_at"] else JournalState.DRAINED if row["drained_at"] else None
    return {
        "id": row["id"],
        "host": row["host"],
        "process": row["process"],
        "state": ended or JournalState.OPEN,
        "grants_waiting": row["grants_waiting"],
        "opened_at": row["opened_at"],
        "seen_at": row["seen_at"],
        "drained_at": row["drained_at"],
        "abandoned_at": row["abandoned_at"],
        "abandoned_by": row["abandoned_by"],
    }
