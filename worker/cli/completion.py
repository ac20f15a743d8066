"""`evergrant completion`: the script that completes commands and options in a shell."""

import click
from click.shell_completion import get_completion_class

from worker.cli.commands import Command


@click.command(
    cls=Command,
    changes=False,
    example="""
    eval "$(evergrant completion bash)"
    evergrant completion fish > ~/.config/fish/completions/evergrant.fish
    """,
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes commands in a shell."""
    from worker.cli import COMPLETION_VARIABLE, cli

    found = get_completion_class(shell)
    if found is not None:
        click.echo(found(cli, {}, "evergrant", COMPLETION_VARIABLE).source())
