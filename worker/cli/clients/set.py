"""`evergrant clients set`: change what is said about a client."""

from typing import Any

import click

from worker.cli import output, session
from worker.cli.clients.options import described
from worker.cli.clients.record import record_of
from worker.cli.commands import Command
from worker.cli.output import json_option


@click.command("set", cls=Command, example="evergrant clients set temple --rate 60/minute")
@click.argument("name")
@described
@json_option
def set_(name: str, *, as_json: bool, **given: Any) -> None:
    """Change what is said about a client; without an option its provider's file is read anew."""
    from models import operator_actions
    from models.views import listing
    from worker.cli.clients.registration import merged

    settings = session.prepared()
    with session.transaction() as connection:
        row = listing.client_by_name(connection, name)
        registration = merged(settings, row["provider"], given, before=row)
        operator_actions.set_client(connection, row["id"], registration, who=settings.who)
        record = record_of(listing.client_by_name(connection, name))
    output.done(record, f"Changed {name}.", as_json=as_json)
