"""`evergrant journals`: the files that hold the providers' answers."""

import click

from worker.cli.commands import Group


@click.group(cls=Group, names=["abandon", "list"])
def journals() -> None:
    """The files that hold the providers' answers."""
