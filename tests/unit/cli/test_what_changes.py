"""Every command is in the audit, unless it says that it changes nothing: and then it must not be able to."""

import ast
from pathlib import Path

import click
import pytest

from tests.unit.cli.walking import every_command
from worker.cli.commands import Command

CLI = Path(__file__).resolve().parents[3] / "worker" / "cli"
COMMANDS = {
    name.removeprefix("evergrant "): command for name, command in every_command() if isinstance(command, Command)
}
LOOKS = {
    *("list", "show", "history", "check", "current", "status", "explain", "doctor", "plan", "completion"),
    *("deliveries", "events"),
}
PROCESSES = {"demo", "up", "worker", "beat", "web", "simulator"}


def test_every_command_is_one_that_can_be_asked() -> None:
    odd = [
        name for name, each in every_command() if not isinstance(each, Command) and not isinstance(each, click.Group)
    ]
    assert odd == []
    assert len(COMMANDS) > 50


@pytest.mark.parametrize("name", COMMANDS)
def test_what_changes_is_noted_and_what_looks_is_not(name: str) -> None:
    assert COMMANDS[name].changes is (name.rsplit(maxsplit=1)[-1] not in LOOKS | PROCESSES), (
        "what a command changes or hands out is noted in the audit; one that only looks says changes=False, and ends "
        "with a word of LOOKS"
    )


def test_whoever_opens_a_token_in_a_command_notes_it() -> None:
    opening = [
        path
        for path in sorted(CLI.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "open"
        and any(keyword.arg == "purpose" for keyword in node.keywords)
    ]
    assert {path.name for path in opening} >= {"token.py", "export.py"}
    assert [path.name for path in opening if "audited.of_tokens(" not in path.read_text(encoding="utf-8")] == []
