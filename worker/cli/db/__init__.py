"""`evergrant db`: the tables in the database: upgrade, check, adopt, roles."""

import click

from worker.cli.commands import Group


@click.group(cls=Group, names=["adopt", "check", "current", "roles", "upgrade"])
def db() -> None:
    """The tables in the database: upgrade, check, adopt, roles."""
