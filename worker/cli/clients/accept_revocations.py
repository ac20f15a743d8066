"""`evergrant clients accept-revocations`: what becomes of the revocations that a limit holds."""

import click

from worker.cli import output, session
from worker.cli.arguments import confirm, yes_option
from worker.cli.clients.record import record_of
from worker.cli.commands import Command
from worker.cli.output import json_option


@click.command(
    "accept-revocations",
    cls=Command,
    example="""
    evergrant revocations list --client temple --status held
    evergrant clients accept-revocations temple
    """,
)
@click.argument("name")
@click.option("--discard", is_flag=True, help="Drop them instead, as if nobody had asked.")
@yes_option
@json_option
def accept_revocations(name: str, *, discard: bool, yes: bool, as_json: bool) -> None:
    """Let the revocations go on that were held because one application asked for unusually many.

    From then on that application may ask for as many again before the next are held.
    """
    from models import held_revocation
    from models.views import listing

    settings = session.prepared()
    with session.reading() as connection:
        listing.client_by_name(connection, name)
        held = [each for each in held_revocation.held(connection) if each.client == name]
    asked = ", ".join(f"{each.count} for {each.asked_by}" for each in held)
    if asked:
        question = "Drop the revocations" if discard else "Revoke at the provider, for good, the grants"
        confirm(f"{question} of {name} that are held ({asked})?", yes=yes)
    act = held_revocation.discard if discard else held_revocation.accept
    with session.transaction() as connection:
        row = listing.client_by_name(connection, name)
        count = act(connection, row["id"], who=settings.who)
        record = record_of(listing.client_by_name(connection, name))
    output.done(record | {"count": count}, _told(count, discard=discard), as_json=as_json)


def _told(count: int, *, discard: bool) -> str:
    if not count:
        return "No revocation is held; nothing to do."
    grants = "1 grant" if count == 1 else f"{count} grants"
    return f"What was asked for {grants} is dropped." if discard else f"The revocations of {grants} go on."
