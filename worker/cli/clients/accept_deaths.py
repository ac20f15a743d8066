"""`evergrant clients accept-deaths`: the end of a hold."""

import click

from worker.cli import output, session
from worker.cli.arguments import confirm, yes_option
from worker.cli.clients.record import record_of
from worker.cli.commands import Command
from worker.cli.output import json_option


@click.command("accept-deaths", cls=Command, example="evergrant clients accept-deaths temple")
@click.argument("name")
@yes_option
@json_option
def accept_deaths(name: str, *, yes: bool, as_json: bool) -> None:
    """Let through the verdicts that were held because unusually many grants were refused at once."""
    from models import operator_actions
    from models.views import listing

    settings = session.prepared()
    confirm(f"Have the users of {name} really withdrawn their consents?", yes=yes)
    with session.transaction() as connection:
        row = listing.client_by_name(connection, name)
        held = operator_actions.accept_deaths(connection, row["id"], who=settings.who)
        record = record_of(listing.client_by_name(connection, name))
    told = "Held verdicts go through." if held else "No verdict was held; nothing to do."
    output.done(record, told, as_json=as_json)
