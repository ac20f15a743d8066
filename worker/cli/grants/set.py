"""`evergrant grants set`: change a grant's labels, or how it is kept."""

import click

from worker.cli import output, session
from worker.cli.arguments import client_option, grouped, label_option, ref_argument
from worker.cli.commands import Command
from worker.cli.failures import misuse
from worker.cli.grants.record import record
from worker.cli.output import json_option


@click.command("set", cls=Command, example="evergrant grants set customer-42 --label org=8f2 --keep on-demand")
@ref_argument
@client_option
@label_option
@click.option("--keep", type=click.Choice(["warm", "on-demand"]), help="Renew always, or when it is read.")
@json_option
def set_(ref: str, *, client: str | None, labels: tuple[tuple[str, str], ...], keep: str | None, as_json: bool) -> None:
    """Change a grant's labels, or how it is kept; `--label key=` takes a label away."""
    from models import operator_actions
    from models.views import listing

    if not labels and not keep:
        raise misuse(message="Nothing to change was named", next_step="add --label or --keep")
    settings = session.prepared()
    with session.transaction() as connection:
        each = listing.locate(connection, [ref], client)[0]
        operator_actions.set_grant(connection, each.id, labels=grouped(labels), keep=keep, who=settings.who)
        row = listing.grant(connection, each.id)
    output.done(record(row), f"Changed {ref}.", as_json=as_json)
