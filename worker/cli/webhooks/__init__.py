"""`evergrant webhooks`: the URLs that are told what happens."""

import click

from worker.cli.commands import Group


@click.group(cls=Group, names=["add", "list", "test", "deliveries", "redeliver", "rotate", "pause", "resume", "remove"])
def webhooks() -> None:
    """The URLs that are told what happens."""
