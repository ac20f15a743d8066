"""`evergrant apps remove`: take an application's key away."""

import click

from worker.cli import output, session
from worker.cli.commands import Command
from worker.cli.output import json_option


@click.command(cls=Command, example="evergrant apps remove billing")
@click.argument("name")
@json_option
def remove(name: str, *, as_json: bool) -> None:
    """Take an application's keys away; within seconds they open nothing."""
    from models import application

    settings = session.prepared()
    with session.transaction() as connection:
        application.remove(connection, name, who=settings.who)
    output.done({"name": name, "removed": True}, f"Removed {name}.", as_json=as_json)
