"""`evergrant keys`: the key rings that seal every token."""

import click

from worker.cli.commands import Group


@click.group(cls=Group, names=["generate", "list", "reseal", "retire"])
def keys() -> None:
    """The key rings that seal every token."""
