"""`evergrant clients add`: register a client."""

from typing import TYPE_CHECKING, Any

import click

from worker.cli import keyrings, output, session
from worker.cli.arguments import NAME, read_secret
from worker.cli.clients.options import described, secret_option
from worker.cli.clients.record import endpoints, record_of
from worker.cli.clients.set_secret import store_secret
from worker.cli.commands import Command
from worker.cli.failures import misuse
from worker.cli.output import json_option

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

    from settings import Settings


@click.command(
    cls=Command,
    example="""
    evergrant clients add temple --provider event-temple --client-id ID --client-secret-file secret.txt
    evergrant clients add chain --provider event-temple-private --client-id ID --client-secret-file secret.txt
    evergrant clients add shop --provider generic --client-id ID --client-secret-file - --token-url URL
    """,
)
@click.argument("name")
@click.option("--provider", required=True, help="One of `evergrant providers list --all`.")
@secret_option
@described
@json_option
def add(name: str, *, provider: str, client_secret_file: str | None, as_json: bool, **given: Any) -> None:
    """Register a client; what the provider's file says already need not be said again."""
    from models import operator_actions
    from models.views import listing
    from worker.cli.clients.registration import merged

    if NAME.fullmatch(name) is None:
        raise misuse(
            code="client_name",
            message="A client's name is 1 to 63 letters, digits, dots, dashes or underscores",
            next_step="choose another",
        )
    if not given["client_id"]:
        raise misuse(message="A client needs its id", next_step="add --client-id ID")
    settings = session.prepared()
    vault = keyrings.keys_needed(keyrings.vault(), "refresh")
    secret = read_secret(client_secret_file, what="client secret") if client_secret_file else None
    registration = merged(settings, provider, given, before=None)
    with session.transaction() as connection:
        made = operator_actions.add_client(connection, name, registration, who=settings.who)
        if secret is not None:
            store_secret(connection, made, secret, vault, settings)
        record = record_of(listing.client_by_name(connection, name))
        missing = _missing(listing.client_by_name(connection, name), settings)
    output.done(record, f"Added {name}. Next: {_next(name, missing)}", as_json=as_json)


def _missing(row: "RowMapping", settings: "Settings") -> list[str]:
    """The options without which nobody can connect: neither the provider's file nor the command said them."""
    found = endpoints(row, settings)
    needed = ("token_url",) if found["kind"] == "client_credentials" else ("authorize_url", "token_url")
    return [f"--{name.replace('_', '-')}" for name in needed if not found[name]]


def _next(name: str, missing: list[str]) -> str:
    if missing:
        return f"evergrant clients set {name} " + " ".join(f"{option} URL" for option in missing)
    return f"evergrant grants connect REF --client {name}"
