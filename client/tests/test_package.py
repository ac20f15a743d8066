"""What importing the package brings, and what it leaves alone."""

import ast
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import evergrant_client

ROOT = Path(__file__).parents[1]
OPTIONAL = {"requests", "httpx", "httpx2", "anyio", "celery", "kombu", "sqlalchemy"}


def test_the_package_brings_neither_an_http_library_nor_celery() -> None:
    program = (
        "import sys, evergrant_client, evergrant_client.testing, evergrant_client.database, "
        f"evergrant_client.token_interface; print(*sorted(set(sys.modules) & {OPTIONAL!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == ""


def test_nothing_of_the_service_is_imported_and_the_environment_is_read_in_one_place() -> None:
    for path in sorted((ROOT / "evergrant_client").glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        roots = {(name or "").partition(".")[0] for name in names}
        assert not roots & {"worker", "tasks", "models", "simulator", "settings", "celeryconfig", "tests"}, path
        assert ("os.environ" in path.read_text(encoding="utf-8")) == (path.name == "configuration.py"), path


def test_each_part_that_needs_an_extra_is_there_when_it_is_named() -> None:
    for name in ("requests", "httpx", "httpx2"):
        assert getattr(evergrant_client, name) is importlib.import_module(f"evergrant_client.{name}")
    with pytest.raises(AttributeError):
        _ = evergrant_client.nothing


def test_the_version_is_that_of_the_distribution_and_it_is_typed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == evergrant_client.__version__
    assert {name.partition(">")[0] for name in project["dependencies"]} == {"psycopg", "cryptography"}
    assert (ROOT / "evergrant_client" / "py.typed").exists()


def test_a_sender_leaves_the_applications_own_celery_alone() -> None:
    from celery import Celery, current_app

    own = Celery("own", set_as_current=True)
    sender = evergrant_client.sender("redis://127.0.0.1:1/0")
    assert current_app.main == own.main == "own"
    assert sender.conf.broker_transport_options["global_keyprefix"] == "evergrant:"
    assert sender.conf.task_default_queue == "upkeep"
