"""`evergrant apps`: the applications that may use the token interface."""

import click

from worker.cli.commands import Group


@click.group(cls=Group, names=["add", "list", "rotate", "remove"])
def apps() -> None:
    """The applications that may use the token interface."""
