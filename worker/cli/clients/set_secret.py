"""`evergrant clients set-secret`: store a new client secret."""

from typing import TYPE_CHECKING

import click

from worker.cli import keyrings, output, session
from worker.cli.arguments import read_secret
from worker.cli.clients.record import record_of
from worker.cli.commands import Command
from worker.cli.output import json_option

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from models.sealing.vault import Vault
    from settings import Settings


@click.command("set-secret", cls=Command, example="evergrant clients set-secret temple --client-secret-file -")
@click.argument("name")
@click.option("--client-secret-file", metavar="FILE", required=True, help="- reads standard input.")
@json_option
def set_secret(name: str, *, client_secret_file: str, as_json: bool) -> None:
    """Store a new client secret; it is used from the next request on."""
    from models.views import listing

    settings = session.prepared()
    vault = keyrings.keys_needed(keyrings.vault(), "refresh")
    secret = read_secret(client_secret_file, what="client secret")
    with session.transaction() as connection:
        row = listing.client_by_name(connection, name)
        store_secret(connection, row["id"], secret, vault, settings)
        record = record_of(listing.client_by_name(connection, name))
    output.done(record, f"{name} has a new secret.", as_json=as_json)


def store_secret(connection: "Connection", client_id: int, secret: str, vault: "Vault", settings: "Settings") -> None:
    """Seal a client's secret into its row."""
    from models import operator_actions

    sealed = vault.seal(secret, table="clients", row_id=client_id, purpose="secret")
    operator_actions.set_client_secret(connection, client_id, sealed, who=settings.who)
