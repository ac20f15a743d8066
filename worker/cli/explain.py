"""`evergrant explain`: why a grant is as it is, what happens next, and what to do."""

from datetime import datetime
from typing import TYPE_CHECKING

import click

from worker.cli import explaining, output, patience, session
from worker.cli.arguments import client_option, ref_argument
from worker.cli.commands import Command
from worker.cli.output import json_option

if TYPE_CHECKING:
    from models.views.listing import Located
    from tasks.policy.explanation.cause import Explanation

SILENCE = {"no_beat_is_alive", "no_worker_is_alive"}  # also what it looks like where nobody can write that they live


@click.command(
    "explain",
    cls=Command,
    changes=False,
    example="""
    evergrant explain customer-42
    evergrant explain customer-42 --json | jq -r .command
    """,
)
@ref_argument
@client_option
@json_option
def explain_(ref: str, *, client: str | None, as_json: bool) -> None:
    """Why a grant is as it is.

    The outermost cause first, since when and by whom; what else holds; what happens next by itself and when; what to do
    about it, and the command to copy.
    """
    located, told, at = patience.patiently(lambda: _found(ref, client))
    if as_json:
        named = {"ref": located.ref, "client": located.client, "status": located.status, "at": at}
        output.one(named | explaining.record(told), as_json=True)
        return
    click.echo(f"{output.cell(located.ref)} of {located.client}: {located.status}, generation {located.generation}")
    for line in explaining.page(told, at=at):
        click.echo(line)


def _found(ref: str, client: str | None) -> "tuple[Located, Explanation, datetime]":
    from models.views import fleet, listing

    with session.reading() as connection:
        located = listing.locate(connection, [ref], client)[0]
        told = explaining.explained(connection, located.id)
        if SILENCE & {told.cause, *(each.cause for each in told.chain)} and (why := patience.no_commit()):
            told = explaining.explained(connection, located.id, unwritable=why)
        return located, told, fleet.clock(connection)["at"]
