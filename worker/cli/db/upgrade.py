"""`evergrant db upgrade`: bring the tables to this release."""

import click

from worker.cli import output
from worker.cli.commands import Command
from worker.cli.db.environment import named_environment
from worker.cli.output import json_option


@click.command(cls=Command, example="evergrant db upgrade")
@json_option
def upgrade(*, as_json: bool) -> None:
    """Bring the tables to this release; the first time, remember which database this is."""
    from models import database, migrations
    from models.installation import observed, remember

    settings, environment = named_environment()
    migrations.upgrade()
    with database.transaction() as connection:
        remember(connection, observed(connection, environment), who=settings.who)
        revision = migrations.current(connection)
    output.done({"revision": revision}, f"The database is at revision {revision}.", as_json=as_json)
