"""`evergrant dead-letters list`: list the open dead letters, oldest first."""

import click

from worker.cli import output, session
from worker.cli.arguments import client_option
from worker.cli.commands import Command
from worker.cli.dead_letters.letters import COLUMNS, cause_option, record
from worker.cli.output import json_option


@click.command("list", cls=Command, changes=False, example="evergrant dead-letters list --cause gave_up")
@client_option
@cause_option
@click.option("--all", "everything", is_flag=True, help="The closed ones as well.")
@json_option
def list_(*, client: str | None, cause: str | None, everything: bool, as_json: bool) -> None:
    """List the open dead letters, oldest first."""
    from models.views import listing

    with session.reading() as connection:
        if client:
            listing.client_by_name(connection, client)
        found = listing.dead_letters(connection, client=client, cause=cause, resolved=everything)
        columns = COLUMNS if everything else COLUMNS[:-1]
        output.rows(map(record, found), columns, as_json=as_json, nothing="No dead letter is open.")
