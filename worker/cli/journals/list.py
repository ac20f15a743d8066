"""`evergrant journals list`: the journals that are not drained, and who waits for them."""

from typing import TYPE_CHECKING, Any

import click

from models.states.journal import JournalState, journal_state
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
    Column("damage", "what is wrong"),
    Column("next", "what to do"),
    Column("seen_at", spare=3),
    Column("opened_at", spare=4),
]


WAITED_FOR = (JournalState.OPEN, JournalState.DAMAGED)


@click.command("list", cls=Command, changes=False, example="evergrant journals list --json")
@click.option("--all", "everything", is_flag=True, help="Those that are drained or abandoned as well.")
@json_option
def list_(*, everything: bool, as_json: bool) -> None:
    """List the journals that are not drained, who holds each, and how many grants in doubt wait for it.

    One that is `damaged` cannot be read to its end: what of it can be is settled, and grants in doubt go on waiting for
    the rest, until it can be read again or is abandoned.
    """
    from models.views import listing

    with session.reading() as connection:
        records = [_record(row) for row in listing.journals(connection)]
    shown = [each for each in records if everything or each["state"] in WAITED_FOR]
    output.rows(shown, COLUMNS, as_json=as_json, nothing="No journal is open: every one is drained.")


def _record(row: "RowMapping") -> dict[str, Any]:
    state = journal_state(
        drained=row["drained_at"] is not None,
        abandoned=row["abandoned_at"] is not None,
        damaged=row["damage"] is not None,
    )
    damaged = state == JournalState.DAMAGED
    return {
        "id": row["id"],
        "host": row["host"],
        "process": row["process"],
        "state": state,
        "grants_waiting": row["grants_waiting"],
        "opened_at": row["opened_at"],
        "seen_at": row["seen_at"],
        "drained_at": row["drained_at"],
        "abandoned_at": row["abandoned_at"],
        "abandoned_by": row["abandoned_by"],
        "damaged_at": row["damaged_at"] if damaged else None,
        "damage": row["damage"] if damaged else None,
        "next": mend(row["id"]) if damaged else None,
    }


def mend(journal_id: int) -> str:
    """What to do about a journal that cannot be read."""
    return f"mend or restore its files, or evergrant journals abandon {journal_id}"
