"""The command classes of the CLI: a command that shows an example, a group whose commands are files of its folder."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from keyword import iskeyword
from typing import Any

import click

from worker.cli.meant import is_alike
from worker.cli.started import as_started


class Command(click.Command):
    """A command whose help ends with examples, one a line.

    What it does is noted in the audit, unless it says that it `changes` nothing and hands nothing out. Then the
    database lets it change nothing, either.
    """

    def __init__(self, *args: Any, example: str, changes: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example
        self.changes = changes

    def invoke(self, ctx: click.Context) -> Any:
        """Carry it out, with its entry in the audit around it."""
        if not self.changes:
            return super().invoke(ctx)
        from worker.cli import audited

        with audited.noted(ctx):
            return super().invoke(ctx)

    def get_help(self, ctx: click.Context) -> str:
        """The help, whose examples can be typed here."""
        return as_started(super().get_help(ctx))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples as they would be typed."""
        super().format_epilog(ctx, formatter)
        lines = self.example.strip().splitlines()
        with formatter.section("Examples" if len(lines) > 1 else "Example"):
            for line in lines:
                formatter.write(f"{'':>{formatter.current_indent}}{line.strip()}\n")


class Group(click.Group):
    """A group whose commands are the files of its folder, each imported when it is used or listed.

    `names` are the commands as they are typed, in the order shown: `set-secret` is the command of that name in
    `set_secret.py`, beside the module that makes the group. A list of them, or a word to complete, imports them all: so
    each of these files imports what it works with inside of its functions. A test looks.
    """

    def __init__(self, *args: Any, names: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.names = names

    def get_help(self, ctx: click.Context) -> str:
        """The help, with the name that was typed."""
        return as_started(super().get_help(ctx))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every name, in the order shown."""
        del ctx
        return list(self.names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command, or None where there is none of that name."""
        del ctx
        return self.load(cmd_name) if cmd_name in self.names else None

    def load(self, name: str) -> click.Command:
        """Import the command."""
        file = name.replace("-", "_") + ("_" if iskeyword(name) else "")
        module = import_module(f"{self.callback.__module__}.{file}")
        found = (each for each in vars(module).values() if isinstance(each, click.Command))
        return next(each for each in found if each.name == name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one was probably meant."""
        if args and not args[0].startswith("-") and args[0] not in self.names:
            raise click.UsageError(_no_such(args[0], self.names), ctx)
        return super().resolve_command(ctx, args)


class SectionedGroup(Group):
    """A group whose help shows its commands under headings; `sections` maps a heading to the names under it."""

    def __init__(self, *args: Any, sections: Mapping[str, Sequence[str]], **kwargs: Any) -> None:
        super().__init__(*args, names=[name for names in sections.values() for name in names], **kwargs)
        self.sections = sections

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under their headings, each with its first sentence."""
        del ctx
        width = max(map(len, self.names))
        for heading, names in self.sections.items():
            with formatter.section(heading):
                formatter.write_dl(
                    [(name.ljust(width), sentence(self.load(name))) for name in names], col_max=width + 4
                )


def sentence(command: click.Command) -> str:
    """What a list says of a command: the first clause of its help, unless it has a shorter one of its own."""
    paragraph = " ".join((command.help or "").split("\n\n")[0].split())
    return command.short_help or re.split(r"[;.](?:\s|$)", paragraph)[0] + "."


def _no_such(name: str, names: Sequence[str]) -> str:
    close = [each for each in get_close_matches(name, names, n=2) if is_alike(name, each)]
    return f"There is no command '{name}'" + (f" (did you mean {' or '.join(close)}?)" if close else "")
