"""`evergrant clients`: our registrations at the providers."""

import click

from worker.cli.commands import Group


@click.group(
    cls=Group,
    names=[
        "accept-deaths",
        "accept-revocations",
        "add",
        "generate-key",
        "list",
        "pause",
        "probe-rotation",
        "resume",
        "set",
        "set-secret",
        "show",
    ],
)
def clients() -> None:
    """Our registrations at the providers."""
