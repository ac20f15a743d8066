"""`evergrant tickets`: the links by which customers connect in their own browser."""

import click

from worker.cli.commands import Group


@click.group(cls=Group, names=["list", "revoke"])
def tickets() -> None:
    """The links by which customers connect in their own browser."""
