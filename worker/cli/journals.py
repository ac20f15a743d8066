"""`evergrant journals`: the files that hold the providers' answers."""

from typing import Any

import click
from sqlalchemy import RowMapping

from models import reading
from worker.cli import output, session
from worker.cli.commands import Command
from worker.cli.output import Column, json_option

COLUMNS = [
    Column("id"),
    Column("host", spare=1),
    Column("process", spare=2),
    Column("state"),
    Column("grants_waiting", "waiting"),
    Column("seen_at", spare=3),
    Column("opened_at", spare=4),
]


@click.group()
def journals() -> None:
    """The files that hold the providers' answers."""


@journals.command("list", cls=Command, example="evergrant journals list --json")
@json_option
def list_(*, as_json: bool) -> None:
    """List the journals, who holds each, and how many grants in doubt wait for it."""
    with session.reading() as connection:
        records = [_record(row) for row in reading.journals(connection)]
    output.rows(records, COLUMNS, as_json=as_json, nothing="There is no journal yet: no worker ever ran.")


def _record(row: RowMapping) -> dict[str, Any]:
    state = "abandoned" if row["abandoned_at"] else "drained" if row["drained_at"] else "open"
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
    }
