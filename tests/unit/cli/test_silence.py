"""A command speaks in sentences: tasks that log are hushed before they are used, for structlog prints by itself."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
HUSHING = {"prepared", "vault", "opened"}  # each reads the settings, and hushes what has been imported by then
SILENT = (
    "tasks.oauth.client_key",
    "tasks.oauth.discovery",
    "tasks.oauth.errors",
    "tasks.oauth.fields",
    "tasks.oauth.facts",
    "tasks.oauth.provider",
    "tasks.oauth.rotation",
    "tasks.oauth.shapes",
    "tasks.oauth.transport",
    "tasks.policy.advice",
    "tasks.policy.explanation.cause",
    "tasks.policy.pace",
    "tasks.policy.backlog",
    "tasks.policy.explanation.cause",
    "tasks.policy.explanation.faults",
    "tasks.policy.pace",
    "tasks.policy.plan",
    "tasks.policy.rotation",
    "tasks.policy.understood",
    "tasks.policy.valve",
    "tasks.runtime.clock",
    "tasks.runtime.disk",
    "tasks.runtime.mount",
    "tasks.runtime.registration",
    "tasks.telling.signature",
)


def loud(node: ast.AST) -> bool:
    """Whether a statement imports a module that may log."""
    match node:
        case ast.ImportFrom(module=str(module), names=names) if module.startswith(("tasks", "worker.cli.imports")):
            return not {module, *(f"{module}.{alias.name}" for alias in names)} & set(SILENT)
        case _:
            return False


def called(node: ast.AST) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""


FUNCTIONS = {
    f"{path.stem}:{function.name}": function
    for path in sorted((PROJECT / "worker" / "cli").rglob("*.py"))
    for function in ast.parse(path.read_text(encoding="utf-8")).body
    if isinstance(function, ast.FunctionDef) and any(map(loud, ast.walk(function)))
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_may_log_is_imported_before_it_is_hushed(name: str) -> None:
    nodes = list(ast.walk(FUNCTIONS[name]))
    imported = max(node.lineno for node in nodes if isinstance(node, ast.ImportFrom) and loud(node))
    assert any(node.lineno > imported for node in nodes if isinstance(node, ast.Call) and called(node) in HUSHING)


def test_what_is_taken_for_silent_brings_nothing_that_logs() -> None:
    program = f"import sys, {', '.join(SILENT)}; sys.exit('structlog' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=True, timeout=60)
