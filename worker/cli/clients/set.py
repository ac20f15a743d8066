"""`evergrant clients set`: change what is said about a client."""

from typing import TYPE_CHECKING, Any

import click

from worker.cli import output, session
from worker.cli.clients.discovered import with_document
from worker.cli.clients.options import described
from worker.cli.clients.record import record_of, told_of_woken
from worker.cli.clients.secrets import expect_same_kind
from worker.cli.commands import Command
from worker.cli.output import json_option

if TYPE_CHECKING:
    from tasks.oauth.shapes import Auth


@click.command("set", cls=Command, example="evergrant clients set temple --rate 60/minute")
@click.argument("name")
@described
@json_option
def set_(name: str, *, as_json: bool, **given: Any) -> None:
    """Change what is said about a client; without an option its provider's file is read anew.

    With --issuer the server's own document is read, anew where it was read before.
    """
    from models import operator_actions, waking
    from models.views import listing
    from tasks.runtime.registration import resolve
    from worker.cli.clients.registration import merged

    settings = session.prepared()
    with session.reading() as connection:
        row = listing.client_by_name(connection, name)
    before = resolve(row["provider"], row["overrides"], settings).auth
    expect_same_kind(given["auth"], before, name=name, has_secret=row["has_secret"])
    said = with_document(given, _fitting(before))
    with session.transaction() as connection:
        row = listing.client_by_name(connection, name)
        registration = merged(settings, row["provider"], said, before=row)
        operator_actions.set_client(connection, row["id"], registration, who=settings.who)
        woken = waking.wake_failing(connection, row["id"])
        record = record_of(listing.client_by_name(connection, name)) | {"woken": woken}
    output.done(record, f"Changed {name}.{told_of_woken(woken)}", as_json=as_json)


def _fitting(before: "Auth") -> "tuple[Auth, ...]":
    """The ways to prove who a client is that the secret which it has fits, its present one first."""
    from tasks.oauth.shapes import Auth

    passwords = (Auth.BASIC, Auth.BODY)
    return (before, *(auth for auth in passwords if auth is not before)) if before in passwords else (before,)
