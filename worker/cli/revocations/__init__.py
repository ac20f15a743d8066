"""`evergrant revocations`: grants on their way to the end."""

import click

from worker.cli.commands import Group


@click.group(cls=Group, names=["list", "show"])
def revocations() -> None:
    """Grants on their way to the end."""
