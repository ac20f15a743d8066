"""`evergrant dead-letters discard`: close dead letters without doing anything about them."""

import click

from worker.cli import output, session
from worker.cli.arguments import confirm, yes_option
from worker.cli.commands import Command
from worker.cli.dead_letters.letters import chosen_among
from worker.cli.output import json_option

ids_argument = click.argument("ids", metavar="ID...", type=int, nargs=-1, required=True)


@click.command(cls=Command, example="evergrant dead-letters discard 3")
@ids_argument
@yes_option
@json_option
def discard(ids: tuple[int, ...], *, yes: bool, as_json: bool) -> None:
    """Close dead letters without doing anything about them."""
    from models.redrive import discard as discard_letters
    from models.views import listing

    settings = session.prepared()
    with session.reading() as connection:
        chosen_among(listing.dead_letters(connection), ids)
    confirm(f"Discard {'dead letter' if len(ids) == 1 else 'dead letters'} {', '.join(map(str, ids))}?", yes=yes)
    with session.transaction() as connection:
        done = discard_letters(connection, ids, who=settings.who)
    for each in ids:
        told = f"{each} is closed." if each in done else f"{each} was closed already."
        output.done({"id": each, "discarded": each in done}, told, as_json=as_json)
