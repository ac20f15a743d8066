"""`evergrant providers`: the authorization servers that are known."""

import click

from worker.cli.commands import Group


@click.group(cls=Group, names=["check", "list", "show"])
def providers() -> None:
    """The authorization servers that are known."""
