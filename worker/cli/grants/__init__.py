"""`evergrant grants`: the grants that are kept alive."""

import click

from worker.cli.commands import SectionedGroup

SECTIONS = {
    "Connect": ["connect", "connect-link", "reconnect-link", "authorize-url", "exchange", "import"],
    "Look": ["list", "show", "history", "token", "probe"],
    "Change": ["export", "refresh", "pause", "resume", "set", "revoke", "erase"],
}


@click.group(cls=SectionedGroup, sections=SECTIONS)
def grants() -> None:
    """The grants that are kept alive."""
