"""`evergrant doctor`: every condition that would bite later, each with its remedy."""

from typing import TYPE_CHECKING

import click

from worker.cli import output
from worker.cli.commands import Command
from worker.cli.failures import ExitCode
from worker.cli.output import Column, json_option

if TYPE_CHECKING:
    from worker.cli.examination import Finding

COLUMNS = [Column("check"), Column("finding"), Column("next", "what to do")]


INDENT = 13


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
    over and have opened nothing; links by which a customer would get nowhere.
    """
    from worker.cli.examination import findings

    found = list(findings())
    records = [{"check": each.check, "finding": each.finding, "next": each.next} for each in found]
    if as_json:
        output.rows(records, COLUMNS, as_json=True, nothing="")
    for each in [] if as_json else found:
        click.echo("\n".join(_lines(each)))
    if found:
        raise click.exceptions.Exit(ExitCode.FAILED)
    if not as_json:
        click.echo("Nothing was found: all is well, and nothing will bite later that can be seen from here.")


def _lines(found: "Finding") -> list[str]:
    """One line where it fits, as in a pipe; else what to do stands below what was found."""
    name = click.style(found.check.ljust(INDENT), bold=True)
    finding, step = output.hint(found.finding), f"→ {output.hint(found.next)}"
    on_one = output.folded(f"{finding}  {step}", name, INDENT)
    if len(on_one) == 1:
        return on_one
    return [*output.folded(finding, name, INDENT), *output.folded(step, " " * INDENT, INDENT)]
