"""`evergrant dead-letters redrive`: send back what was given up on."""

import click

from worker.cli import output, session
from worker.cli.arguments import client_option, confirm, yes_option
from worker.cli.commands import Command
from worker.cli.dead_letters.letters import COLUMNS, cause_option, chosen_among, record
from worker.cli.failures import Failure, misuse
from worker.cli.output import json_option


@click.command(
    cls=Command,
    example="""
    evergrant dead-letters redrive 3 4
    evergrant dead-letters redrive --all --cause gave_up --dry-run
    """,
)
@click.argument("ids", metavar="[ID...]", type=int, nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every open one that matches.")
@client_option
@cause_option
@click.option("--dry-run", is_flag=True, help="Only show which.")
@yes_option
@json_option
def redrive(
    ids: tuple[int, ...],
    *,
    everything: bool,
    client: str | None,
    cause: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Send back what was given up on; a grant only at the generation that the letter speaks of."""
    from models.redrive import redrive as redrive_letters
    from models.views import listing

    if bool(ids) == everything:
        raise misuse(message="Either ids or --all is needed", next_step="name one of both")
    settings = session.prepared()
    with session.reading() as connection:
        chosen = chosen_among(listing.dead_letters(connection, client=client, cause=cause), ids)
    if dry_run:
        output.rows(map(record, chosen), COLUMNS[:-1], as_json=as_json, nothing="No dead letter matches.")
        return
    if not chosen:
        output.rows([], COLUMNS[:-1], as_json=as_json, nothing="No dead letter matches.")
        return
    if everything:
        confirm(f"Redrive {len(chosen)} dead letters?", yes=yes)
    with session.transaction() as connection:
        results = redrive_letters(connection, [row["id"] for row in chosen], who=settings.who)
    for each in results:
        told = f"{each.id} ({each.ref}) goes back." if each.done else f"{each.id} ({each.ref}): {each.why_not}."
        what = {"id": each.id, "ref": each.ref, "redriven": each.done, "reason": each.why_not}
        output.done(what, told, as_json=as_json)
    if not all(each.done for each in results):
        raise Failure(
            code="not_redriven",
            message="Not every letter could be sent back",
            next_step="look at those with `evergrant dead-letters show`",
        )
