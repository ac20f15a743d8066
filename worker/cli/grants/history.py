"""`evergrant grants history`: what happened to the grants of a ref."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from worker.cli import output, session
from worker.cli.arguments import client_option, ref_argument
from worker.cli.commands import Command
from worker.cli.output import Column, json_option

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

COLUMNS = [
    Column("at"),
    Column("what"),
    Column("generation", "gen", spare=2, number=True),
    Column("reason", spare=1),
    Column("data", "more", spare=4),
    Column("actor", "who", spare=3),
]


@click.command(
    cls=Command,
    changes=False,
    example="""
    evergrant grants history customer-42
    evergrant grants history customer-42 --json | jq -r 'select(.what == "dead_letter.written") | .at'
    """,
    short_help="Show what happened to a ref's grants.",
)
@ref_argument
@client_option
@json_option
def history(ref: str, *, client: str | None, as_json: bool) -> None:
    """Show what happened to a ref's grants, the oldest first.

    Consents, doubts, verdicts, dead letters, what operators did, revocations. Of refreshes that went well only the last
    one is known, and those whose replaced pair is still kept.
    """
    from models.views import history as models
    from models.views import listing

    with session.reading() as connection:
        located = listing.locate(connection, [ref], client)[0]
        found = models.of_grants(connection, models.grants_of(connection, located.client_id, ref))
        named = {"ref": ref, "client": located.client}
        output.rows((_record(row) | named for row in found), COLUMNS, as_json=as_json, nothing="Nothing is known.")


def show(rows: "Iterable[RowMapping]") -> None:
    """Print a history below something else, for a human."""
    output.rows(map(_record, rows), COLUMNS, as_json=False, nothing="Nothing has happened yet.")


def records(rows: "Iterable[RowMapping]") -> list[dict[str, Any]]:
    """A history as JSON shows it."""
    return [_record(row) for row in rows]


def _record(row: "RowMapping") -> dict[str, Any]:
    return dict(row)
