"""`evergrant clients add`: register a client."""

from typing import TYPE_CHECKING, Any

import click

from worker.cli import keyrings, output, session
from worker.cli.arguments import NAME
from worker.cli.clients.discovered import with_document
from worker.cli.clients.options import described, with_secret
from worker.cli.clients.record import endpoints, record_of
from worker.cli.clients.secrets import fitting, secret_in
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
    evergrant clients add shop --issuer https://id.example.com --client-id ID --client-secret-file -
    evergrant clients add bank --issuer URL --client-id ID --auth private_key_jwt --private-key-file bank.key
    """,
)
@click.argument("name")
@click.option("--provider", help="One of `evergrant providers list --all`; with --issuer it is generic.")
@with_secret
@described
@json_option
def add(name: str, *, provider: str | None, as_json: bool, **given: Any) -> None:
    """Register a client; what the provider's file says already need not be said again.

    With --issuer the server's own document (RFC 8414, OpenID) fills addresses, auth and PKCE; options win over it.
    """
    from models import operator_actions
    from models.views import listing
    from tasks.runtime.registration import resolve
    from worker.cli.clients.registration import merged

    if NAME.fullmatch(name) is None:
        raise misuse(
            code="client_name",
            message="A client's name is 1 to 63 letters, digits, dots, dashes or underscores",
            next_step="choose another",
        )
    if not given["client_id"]:
        raise misuse(message="A client needs its id", next_step="add --client-id ID")
    if provider is None and not given["issuer"]:
        raise misuse(message="A client needs a provider", next_step="add --provider NAME, or --issuer URL")
    provider = provider or "generic"
    settings = session.prepared()
    vault = keyrings.keys_needed(keyrings.vault(), "refresh")
    registration = merged(settings, provider, with_document(given, fitting(given)), before=None)
    secret = secret_in(given, auth=resolve(provider, dict(registration.overrides), settings).auth)
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
