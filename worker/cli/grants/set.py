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
@click.option("--ask-labels", is_flag=True, help="Have its provider's API asked for labels once more.")
@json_option
def set_(
    ref: str,
    *,
    client: str | None,
    labels: tuple[tuple[str, str], ...],
    keep: str | None,
    ask_labels: bool,
    as_json: bool,
) -> None:
    """Change a grant's labels, or how it is kept; `--label key=` takes a label away.

    With --ask-labels a worker asks the API within seconds, if the provider file names a labels_url. What was set by
    hand stays: take such a label away as well to have it filled anew. `grants show` tells what came of it.
    """
    from models import asked_labels, operator_actions
    from models.views import listing
    from tasks.runtime.registration import resolve

    if not labels and not keep and not ask_labels:
        raise misuse(message="Nothing to change was named", next_step="add --label, --keep or --ask-labels")
    settings = session.prepared()
    with session.transaction() as connection:
        each = listing.locate(connection, [ref], client)[0]
        if ask_labels:
            chosen = listing.client_by_name(connection, each.client)
            provider = resolve(chosen["provider"], chosen["overrides"], settings)
            if provider.labels_url is None:
                raise misuse(
                    message=f"The provider file {provider.name} names no address to ask for labels",
                    next_step="write labels_url and labels_at into it, or set the labels with --label KEY=VALUE",
                )
            asked_labels.request(connection, each.id, each.client_id)
        if labels or keep:
            operator_actions.set_grant(connection, each.id, labels=grouped(labels), keep=keep, who=settings.who)
        row = listing.grant(connection, each.id)
    output.done(record(row), f"Changed {ref}." if labels or keep else f"{ref} is asked for soon.", as_json=as_json)
