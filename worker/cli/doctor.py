"""`evergrant doctor`: every condition that would bite later, each with its remedy."""

import click

from worker.cli import output
from worker.cli.commands import Command
from worker.cli.failures import ExitCode
from worker.cli.output import Column, json_option

COLUMNS = [Column("check"), Column("finding"), Column("next", "what to do")]


@click.command(
    cls=Command,
    changes=False,
    example="""
    evergrant doctor
    evergrant doctor --json | jq -r .next
    """,
)
@json_option
def doctor(*, as_json: bool) -> None:
    """Look for every condition that would bite later, each with its remedy; exit 1 where something was found.

    All that `status` tells and `db check` finds; the key rings, environment, clock, disk and misspelt variables of each
    process and of this machine; the broker; who may read or write which file; rates that do not fit; pauses that are
    over and have opened nothing.
    """
    from worker.cli.examination import findings

    found = list(findings())
    records = [{"check": each.check, "finding": each.finding, "next": each.next} for each in found]
    if as_json:
        output.rows(records, COLUMNS, as_json=True, nothing="")
    for each in [] if as_json else found:
        name = click.style(each.check.ljust(12), bold=True)
        click.echo(f"{name} {output.hint(each.finding)}  → {output.hint(each.next)}")
    if found:
        raise click.exceptions.Exit(ExitCode.FAILED)
    if not as_json:
        click.echo("Nothing was found: all is well, and nothing will bite later that can be seen from here.")
