"""`evergrant dead-letters`: what was given up on, and why."""

import click

from worker.cli.commands import Group


@click.group("dead-letters", cls=Group, names=["discard", "list", "redrive", "show"])
def dead_letters() -> None:
    """What was given up on, and why."""
