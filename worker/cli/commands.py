"""The two command classes of the CLI: a command that shows an example, a group that loads its parts late.

`evergrant --help` must be quick on a small machine, so a group knows of a command only where it lives and one
sentence about it; the module is imported when the command is used. A test keeps the sentences equal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click


@dataclass(frozen=True)
class Late:
    """Where a command lives, as `package.module:name`, and the sentence that a list of commands shows."""

    place: str
    sentence: str

    def load(self) -> click.Command:
        """Import the command."""
        module, _, name = self.place.partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command


class Command(click.Command):
    """A command whose help ends with examples, one a line."""

    def __init__(self, *args: Any, example: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples as they would be typed."""
        super().format_epilog(ctx, formatter)
        lines = self.example.strip().splitlines()
        with formatter.section("Examples" if len(lines) > 1 else "Example"):
            for line in lines:
                formatter.write(f"{'':>{formatter.current_indent}}{line.strip()}\n")


class Group(click.Group):
    """A group of commands under headings, each loaded when it is used.

    `sections` maps a heading to the commands under it: name to `Late`. The order is the order shown.
    """

    def __init__(self, *args: Any, sections: Mapping[str, Mapping[str, Late]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sections = sections

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every name, in the order shown."""
        del ctx
        return [name for section in self.sections.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command, or None where there is none of that name."""
        del ctx
        for section in self.sections.values():
            if cmd_name in section:
                return section[cmd_name].load()
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one was probably meant."""
        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            raise click.UsageError(_no_such(args[0], self.list_commands(ctx)), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under their headings without importing any of them."""
        del ctx
        width = max(len(name) for section in self.sections.values() for name in section)
        for heading, section in self.sections.items():
            with formatter.section(heading):
                formatter.write_dl(
                    [(name.ljust(width), late.sentence) for name, late in section.items()], col_max=width + 4
                )


def _no_such(name: str, names: Sequence[str]) -> str:
    close = get_close_matches(name, names, n=2)
    return f"There is no command '{name}'" + (f" (did you mean {' or '.join(close)}?)" if close else "")
