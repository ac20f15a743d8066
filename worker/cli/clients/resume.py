"""`evergrant clients resume`: go on sending for a client that was paused by hand."""

import click

from worker.cli.clients.pause import turn
from worker.cli.commands import Command
from worker.cli.output import json_option


@click.command(cls=Command, example="evergrant clients resume temple")
@click.argument("name")
@json_option
def resume(name: str, *, as_json: bool) -> None:
    """Go on sending for a client that was paused by hand."""
    from models import operator_actions

    turn(name, operator_actions.resume_client, "{name} goes on.", as_json=as_json)
