"""`evergrant clients show`: show a client, its endpoints and its valve."""

import click

from tasks.oauth.shapes import Auth
from worker.cli import keyrings, output, session
from worker.cli.clients.drift import sentence
from worker.cli.clients.record import endpoints, record_of
from worker.cli.commands import Command
from worker.cli.output import json_option


@click.command(cls=Command, changes=False, example="evergrant clients show temple --json")
@click.argument("name")
@json_option
def show(name: str, *, as_json: bool) -> None:
    """Show a client, its endpoints and its valve; of a private key its id, and when its certificate ends.

    While a new secret is not proven, or was refused, `former_secret_at` tells since when two are kept.
    """
    from models import client as clients
    from models.views import listing
    from worker.cli.clients.secrets import facts

    settings = session.prepared()
    with session.reading() as connection:
        row = listing.client_by_name(connection, name)
        known = clients.known(connection, [row["id"]])[row["id"]]
    told = record_of(row) | endpoints(row, settings)
    if told["auth"] in (Auth.PRIVATE_KEY_JWT, Auth.MTLS):
        told |= facts(known, keyrings.vault(), settings)
    if not as_json:
        told["drift"] = [sentence(each) for each in told["drift"]]
    output.one(told, as_json=as_json)
