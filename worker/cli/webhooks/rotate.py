"""`evergrant webhooks rotate`: sign with another secret."""

from datetime import timedelta

import click

from worker.cli import keyrings, output, session
from worker.cli.arguments import Duration
from worker.cli.commands import Command
from worker.cli.failures import misuse
from worker.cli.output import iso, json_option
from worker.cli.webhooks.record import id_argument, record_of
from worker.cli.webhooks.secrets import sealed, secret_file_option, secret_in

LONGEST = timedelta(days=365)


@click.command(cls=Command, example="evergrant webhooks rotate 1 --secret-file new.secret --overlap 24h")
@id_argument
@secret_file_option
@click.option(
    "--overlap",
    type=Duration(),
    default="24h",
    show_default=True,
    help="How long both secrets sign; 0s: the one before never signs again.",
)
@json_option
def rotate(id: int, *, secret_file: str, overlap: timedelta, as_json: bool) -> None:  # noqa: A002  # as it is typed
    """Sign with another secret, and for a while with the one before as well: each letter bears both signatures."""
    from models import webhook

    if overlap > LONGEST:
        raise misuse(message="The overlap is longer than a year", next_step="give the secret before a sooner end")
    settings = session.prepared()
    secret = secret_in(secret_file)
    vault = keyrings.keys_needed(keyrings.vault(), "refresh")
    with session.transaction() as connection:
        fresh = sealed(vault, secret, id)
        until = webhook.rotate(connection, id, fresh, overlap=overlap, who=settings.who)
        record = record_of(webhook.found(connection, id))
    both = "alone" if until is None else f"and the one before as well until {iso(until)}"
    output.done(record, f"Webhook {id} is signed with the new secret {both}.", as_json=as_json)
