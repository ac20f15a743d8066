"""Walk over every command of the CLI, with what its group says about it."""

from collections.abc import Iterator

import click

from worker.cli import cli
from worker.cli.commands import Group


def every_command(group: click.Group = cli, path: str = "evergrant") -> Iterator[tuple[str, click.Command]]:
    """Each command and group with its full name, groups before what they hold."""
    context = click.Context(group, info_name=path)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from every_command(command, f"{path} {name}")


def late_sentences(group: click.Group = cli) -> Iterator[tuple[click.Command, str]]:
    """Each command that is loaded late, with the sentence that its group shows."""
    if not isinstance(group, Group):
        return
    for section in group.sections.values():
        for late in section.values():
            command = late.load()
            yield command, late.sentence
            if isinstance(command, click.Group):
                yield from late_sentences(command)
