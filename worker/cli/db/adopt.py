"""`evergrant db adopt`: which database to work with from now on."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from models.states.installation import DatabaseState
from worker.cli import output, session
from worker.cli.arguments import confirm, yes_option
from worker.cli.commands import Command
from worker.cli.db.environment import named_environment
from worker.cli.output import json_option

if TYPE_CHECKING:
    from models.installation import Identity
    from settings import Settings


@click.command("adopt", cls=Command, example="evergrant db adopt")
@yes_option
@json_option
def adopt_(*, yes: bool, as_json: bool) -> None:
    """Declare that this restored or copied database is the one to work with from now on."""
    from models import installation
    from models.installation import adopt, adopted, observed

    settings, environment = named_environment()
    with session.transaction(anywhere=True) as connection:
        here, before = observed(connection, environment), adopted(connection)
        state, moved = installation.state(connection, environment), installation.moved(connection)
    if state == DatabaseState.FIT:
        output.done(asdict(here), "This database is adopted already; nothing to do.", as_json=as_json)
        return
    if state == DatabaseState.REWOUND:
        _go_on_without(settings, here, yes=yes, as_json=as_json)
        return
    _show_both(before, here)
    if moved:
        click.echo("* the data folder was copied or moved: its original may still run", err=True)
    confirm("Is every other copy stopped, and shall work go on in this one?", yes=yes)
    with session.transaction(anywhere=True) as connection:
        adopt(connection, here, who=settings.who)
    output.done(asdict(here), f"Adopted as '{environment}'.", as_json=as_json)


def _go_on_without(settings: "Settings", here: "Identity", *, yes: bool, as_json: bool) -> None:
    """Give up the journals that an incident still waits for; the next look of a worker lets work go on."""
    from models import installation, journal

    with session.transaction(anywhere=True) as connection:
        installation.raise_incident(connection, "timeline")
        awaited = installation.not_replayed(connection)
    for each in awaited:
        line = f"journal {each.id} of {each.host}, last seen {each.seen_at:%Y-%m-%d %H:%M:%SZ}, was not replayed"
        click.echo(line, err=True)
    if awaited:
        confirm("Commits may be missing. Are these journals gone for good, and shall work go on without?", yes=yes)
    with session.transaction(anywhere=True) as connection:
        for each in awaited:
            journal.abandon(connection, each.id, by=settings.who)
    told = f"{len(awaited)} journals are given up; work goes on as soon as a worker has looked."
    output.done({**asdict(here), "abandoned": [each.id for each in awaited]}, told, as_json=as_json)


def _show_both(before: "Identity | None", here: "Identity") -> None:
    was = asdict(before) if before else {}
    records = [{"what": name, "adopted": was.get(name), "here": value} for name, value in asdict(here).items()]
    for record in records:
        mark = " " if record["adopted"] == record["here"] else "*"
        what = str(record["what"]).replace("_", " ")
        click.echo(f"{mark} {what:<18} {record['adopted'] or '-'}  →  {record['here']}", err=True)
