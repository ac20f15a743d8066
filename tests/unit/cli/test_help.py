"""Help: every command has a sentence and an example that parses, and its choices are those of the code."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from simulator.server import DEFAULT_PORT
from tasks.oauth.rotation import Rotation
from tasks.oauth.shapes import Auth, Body
from tests.unit.cli.walking import every_command
from worker.cli import cli, run, simulator
from worker.cli.clients import options
from worker.cli.commands import Command, sentence

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = list(every_command())


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=[name for name, _ in COMMANDS])
def test_every_command_says_what_it_does_in_a_sentence(name: str, command: click.Command) -> None:
    first = (command.help or "").splitlines()[0]
    assert first[:1].isupper(), name
    assert first.endswith("."), name


@pytest.mark.parametrize(("name", "command"), [(n, c) for n, c in COMMANDS if not isinstance(c, click.Group)])
def test_every_command_shows_an_example_that_begins_with_its_own_name(name: str, command: click.Command) -> None:
    assert isinstance(command, Command), name
    assert name in command.example
    text = command.get_help(click.Context(command, info_name=name))
    assert "Example" in text


@pytest.mark.parametrize(("name", "command"), [(n, c) for n, c in COMMANDS if not isinstance(c, click.Group)])
def test_every_option_says_what_it_is_for(name: str, command: click.Command) -> None:
    silent = [each.name for each in command.params if isinstance(each, click.Option) and not each.help]
    assert silent == [], name


def _examples() -> list[str]:
    return [
        line.strip()
        for _, command in COMMANDS
        if isinstance(command, Command)
        for line in command.example.strip().splitlines()
    ]


def _commands_in(line: str) -> list[list[str]]:
    """The evergrant command lines that an example holds, as words; a shell's own signs end them."""
    found = re.findall(r"(?<![\w/.])evergrant(?![\w/.])((?: +(?:[^\s\"()|&<>;]+|\"[^\"()]*\"))*)", line)
    return [shlex.split(words) for words in found]


@pytest.mark.parametrize("line", _examples())
def test_every_example_is_a_command_line_that_parses(line: str) -> None:
    for words in _commands_in(line):
        _parse(cli, words)


def _parse(group: click.Command, words: list[str]) -> None:
    command, context = group, click.Context(group, info_name="evergrant")
    while isinstance(command, click.Group):
        _, found, words = command.resolve_command(context, words)
        assert found is not None
        command, context = found, click.Context(found, parent=context, info_name=found.name)
    command.make_context(command.name, words, parent=context.parent)


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=[name for name, _ in COMMANDS])
def test_the_sentence_in_a_list_of_commands_is_the_one_in_its_own_help(name: str, command: click.Command) -> None:
    told = " ".join((command.help or "").split("\n\n")[0].split())
    assert told.startswith(sentence(command).removesuffix(".")), name


def test_the_choices_of_a_client_are_those_of_a_providers_file() -> None:
    assert (*options.ROTATIONS,) == tuple(each.value for each in Rotation)
    assert (*options.BODIES,) == tuple(each.value for each in Body)
    assert (*options.AUTHS,) == tuple(each.value for each in Auth)


def test_the_simulator_listens_where_its_provider_file_looks_for_it() -> None:
    assert simulator.DEFAULT_PORT == DEFAULT_PORT


def test_a_misspelt_command_is_answered_by_the_one_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["grants", "lst"]) == 2
    assert "did you mean list" in capsys.readouterr().err


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("evergrant ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert "_EVERGRANT_COMPLETE" in capsys.readouterr().out


def test_completion_offers_the_commands_of_a_group() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "worker.cli"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={
            "PYTHONPATH": str(ROOT),
            "_EVERGRANT_COMPLETE": "bash_complete",
            "COMP_WORDS": "evergrant grants re",
            "COMP_CWORD": "2",
        },
    )
    assert {"plain,refresh", "plain,resume", "plain,revoke"} <= set(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["grants", "list", "--statu", "active"], "--status"),
        (["grants", "list", "--cleint", "x"], "--client"),
        (["clients", "list", "--limit", "3"], None),
        (["grants", "list", "--size", "3"], None),
        (["journals", "explain"], None),
    ],
)
def test_a_suggestion_is_made_where_it_is_likely_and_misleads_nobody(
    words: list[str], meant: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    told = capsys.readouterr().err
    assert (f"did you mean {meant}" in told) if meant else ("mean" not in told)
