"""Imports go down only: worker → tasks → models → settings, and nowhere in a circle."""

import ast
import subprocess
import sys
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
OURS = {"worker", "tasks", "models", "settings", "celeryconfig", "alembic", "simulator", "evergrant_client", "tests"}
# What decides must be free of clocks, chance, input and output: times and facts are handed in.
PURE = {
    *("collections", "dataclasses", "datetime", "email", "enum", "http", "json", "math", "re"),
    *("shlex", "tasks", "typing", "uuid"),
}


def imported(path: Path) -> set[str]:
    """The whole names of all modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                found |= {alias.name for alias in names}
            case ast.ImportFrom(module=str(module), level=0):
                found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
            case ast.ImportFrom():
                pytest.fail(f"{path} imports relatively: the contracts would not see it")
    return found


def roots(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported(path)}


def files(folder: str) -> list[Path]:
    found = sorted((PROJECT / folder).rglob("*.py"))
    assert found
    return found


def modules(*folders: Path) -> dict[str, Path]:
    """The files of some folders by the whole names that they are imported by."""
    found = {}
    for folder in folders:
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder.parent).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def neighbours(path: Path, of: Mapping[str, Path]) -> set[str]:
    """Which modules a file imports; `from package import module` needs the module, not what its package gathers."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                found |= {alias.name for alias in names}
            case ast.ImportFrom(module=str(module), names=names):
                wholes = [f"{module}.{alias.name}" for alias in names]
                found |= {whole if whole in of else module for whole in wholes}
    return found & of.keys()


def circle(of: Mapping[str, Path]) -> str:
    """Some circle of imports, wherever in their files they stand and whatever for; empty where there is none."""
    graph = {name: neighbours(path, of) for name, path in of.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " imports ".join(reversed(error.args[1]))
    return ""


def test_the_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    answer = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=120)

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "0 broken" in answer.stdout


def test_no_modules_import_each_other_in_a_circle() -> None:
    names = ("worker", "tasks", "models", "simulator", "client/evergrant_client", "bench", "tests")
    ours = modules(*(PROJECT / name for name in names))
    ours |= {name: PROJECT / f"{name}.py" for name in ("settings", "celeryconfig")}

    assert circle(ours) == ""


def test_a_circle_is_found_also_where_a_function_or_a_type_checker_imports(tmp_path: Path) -> None:
    folder = tmp_path / "ours"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "a.py").write_text("from ours import b\n")
    (folder / "b.py").write_text("def f():\n    import ours.c\n")
    (folder / "c.py").write_text("if TYPE_CHECKING:\n    from ours.a import Something\n")

    assert circle(modules(folder)).count(" imports ours.") == 3
    (folder / "c.py").write_text("import sys\n")
    assert circle(modules(folder)) == ""


def test_the_bundled_provider_imports_nothing_of_the_service() -> None:
    for path in files("simulator"):
        assert roots(path) & OURS == {"simulator"} & roots(path), path


@pytest.mark.parametrize("name", ["settings.py", "celeryconfig.py"])
def test_settings_and_celerys_settings_import_nothing_of_ours(name: str) -> None:
    assert not roots(PROJECT / name) & OURS


def test_models_import_nothing_of_ours_but_settings() -> None:
    for path in files("models"):
        assert roots(path) & OURS <= {"models", "settings", "alembic"}, path


def test_what_seals_and_what_is_looked_at_have_no_ties_to_the_other_models_but_their_words() -> None:
    rooms, words = ("models.sealing", "models.views"), ("models.states", "models.predicates")
    for path in files("models"):
        room = next((name for name in rooms if f"models.{path.parent.name}" == name), None)
        ours = {name for name in imported(path) if name.startswith("models.")}
        if room is None:
            assert not {name for name in ours if name.startswith(rooms)}, path
        else:
            assert all(name.startswith((room, "models.errors", *words)) for name in ours), path


def test_the_words_have_no_ties_to_anything_so_that_a_command_may_ask_for_them_before_it_needs_a_database() -> None:
    assert roots(PROJECT / "models" / "predicates.py") <= {"re", "typing"}
    for path in files("models/states"):
        assert roots(path) <= {"enum", "typing", "models"}, path
        assert all(name.startswith("models.states") for name in imported(path) if name.startswith("models")), path


def test_tasks_never_import_what_runs_them() -> None:
    for path in files("tasks"):
        assert "worker" not in roots(path), path


def test_the_policy_imports_only_what_cannot_act() -> None:
    for path in files("tasks/policy"):
        assert roots(path) <= PURE, path
        ours = {name for name in imported(path) if name.startswith("tasks.")}
        assert all(name.startswith(("tasks.policy", "tasks.oauth.")) for name in ours), path


def test_the_policy_reads_no_clock() -> None:
    for path in files("tasks/policy"):
        calls = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
        assert not calls & {"now", "utcnow", "today", "time", "monotonic"}, path


@pytest.mark.parametrize("package", ["tasks.policy", "tasks.oauth"])
def test_importing_the_protocol_or_the_policy_brings_no_database_no_queue_and_no_settings(package: str) -> None:
    """Indirectly neither: what the import linter's contract does not look at."""
    program = f"""
import importlib, pkgutil, sys
package = importlib.import_module({package!r})
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(module.name)
print(*sorted(set(sys.modules) & {{"sqlalchemy", "psycopg", "celery", "kombu", "models", "settings", "worker"}}))
"""
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True, timeout=60
    )

    assert answer.stdout.strip() == ""


def reads_environment(node: ast.AST) -> bool:
    """Whether this is `os.environ.get("EVERGRANT_…")`, `os.getenv(…)` or `os.environ["…"]` in an expression."""
    match node:
        case ast.Call(func=func, args=[ast.Constant(value=str(name)), *_]):
            return name.startswith("EVERGRANT_") and ast.unparse(func).endswith(("environ.get", "getenv"))
        case ast.Subscript(value=value, slice=ast.Constant(value=str(name)), ctx=ast.Load()):
            return name.startswith("EVERGRANT_") and ast.unparse(value).endswith("environ")
        case _:
            return False


def test_only_settings_reads_the_variables_that_configure_us() -> None:
    paths = [path for folder in ("worker", "tasks", "models", "simulator") for path in files(folder)]
    readers = {
        str(path.relative_to(PROJECT))
        for path in paths
        if any(reads_environment(node) for node in ast.walk(ast.parse(path.read_text())))
    }

    # The command line asks for EVERGRANT_LOG_LEVEL where the settings themselves may be what is broken.
    assert readers <= {"worker/cli/__init__.py"}


def test_the_folder_of_migrations_is_no_package_or_it_would_hide_the_library() -> None:
    assert not list((PROJECT / "alembic").rglob("__init__.py"))
