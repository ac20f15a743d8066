"""`evergrant db current`: show the revision of the tables and the one that this release needs."""

import click

from worker.cli import output, session
from worker.cli.commands import Command
from worker.cli.output import json_option


@click.command("current", cls=Command, changes=False, example="evergrant db current --json")
@json_option
def current_(*, as_json: bool) -> None:
    """Show the revision of the tables and the one that this release needs."""
    from models import database, migrations

    session.prepared()
    with database.transaction() as connection:
        found = {"revision": migrations.current(connection), "needed": migrations.HEAD}
    output.one(found, as_json=as_json)
