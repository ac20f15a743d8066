"""Walk over every command of the CLI, with what its group says about it."""

from collections.abc import Iterator

import click

from worker.cli import cli


def every_command(group: click.Group = cli, path: str = "evergrant") -> Iterator[tuple[str, click.Command]]:
    """Each command and group with its full name, groups before what they hold."""
    context = click.Context(group, info_name=path)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from every_command(command, f"{path} {name}")
