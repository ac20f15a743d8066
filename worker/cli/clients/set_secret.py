"""`evergrant clients set-secret`: store a new client secret, or another private key."""

from typing import TYPE_CHECKING, Any

import click

from worker.cli import keyrings, output, session
from worker.cli.clients.options import AUTHS, with_secret
from worker.cli.clients.record import record_of, told_of_woken
from worker.cli.clients.secrets import named, secret_in
from worker.cli.commands import Command
from worker.cli.failures import misuse
from worker.cli.output import json_option

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from models.sealing.vault import Vault
    from settings import Settings


@click.command(
    "set-secret",
    cls=Command,
    example="""
    evergrant clients set-secret temple --client-secret-file -
    evergrant clients set-secret bank --private-key-file new.key
    """,
)
@click.argument("name")
@with_secret
@click.option("--auth", type=click.Choice(AUTHS), help="From now on the client proves in this way who it is.")
@click.option("--now", is_flag=True, help="Never use the former one again, not even where the new one is refused.")
@json_option
def set_secret(name: str, *, auth: str | None, now: bool, as_json: bool, **given: Any) -> None:
    """Store a new client secret, or another private key; it is used from the next request on.

    The former one is kept until the new one has succeeded. Where the provider refuses the new one first, the former one
    is used again at once, `evergrant status` tells it, and the new one is tried now and then.
    """
    from models import operator_actions, waking
    from models.views import listing
    from tasks.runtime.registration import resolve
    from worker.cli.clients.registration import merged

    if not named(given):
        raise misuse(message="A new secret is needed", next_step="add --client-secret-file, or --private-key-file")
    settings = session.prepared()
    vault = keyrings.keys_needed(keyrings.vault(), "refresh")
    with session.reading() as connection:
        row = listing.client_by_name(connection, name)
    before = resolve(row["provider"], row["overrides"], settings).auth
    secret = secret_in(given, auth=auth or before)
    assert secret is not None  # noqa: S101  # a file is named
    with session.transaction() as connection:
        row = listing.client_by_name(connection, name)
        if auth not in (None, before):
            changed = merged(settings, row["provider"], {"auth": auth, "scopes": ()}, before=row)
            operator_actions.set_client(connection, row["id"], changed, who=settings.who)
            now = True  # the former one would be sent in a way that it does not fit
        kept = store_secret(connection, row["id"], secret, vault, settings, at_once=now)
        woken = waking.wake_failing(connection, row["id"])
        record = record_of(listing.client_by_name(connection, name)) | {"woken": woken}
    until = "; the former one is kept until the new one has succeeded" if kept else ""
    output.done(record, f"{name} has a new secret{until}.{told_of_woken(woken)}", as_json=as_json)


def store_secret(
    connection: "Connection",
    client_id: int,
    secret: str,
    vault: "Vault",
    settings: "Settings",
    *,
    at_once: bool = False,
) -> bool:
    """Seal a client's secret into its row; returns whether the former one is kept."""
    from models import operator_actions

    sealed = vault.seal(secret, table="clients", row_id=client_id, purpose="secret")
    return operator_actions.set_client_secret(connection, client_id, sealed, who=settings.who, at_once=at_once)
