"""The pages that are made from the code say what the code says now."""

import ast
import re
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import inspect

from models.grant import Grant
from settings import Settings
from tests.unit.cli.walking import every_command
from worker.cli.failures import ExitCode

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
EXPLANATION = ROOT / "docs" / "explanation"


def _generator(folder: Path) -> ModuleType:
    spec = spec_from_file_location(f"pages_of_{folder.name}", folder / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = _generator(REFERENCE)
MAP = _generator(EXPLANATION)


@pytest.mark.parametrize("name", GENERATOR.PAGES)
def test_a_page_is_what_the_code_makes_of_it(name: str) -> None:
    written = (REFERENCE / name).read_text(encoding="utf-8")
    assert written == GENERATOR.PAGES[name](), "run: python docs/reference/generate.py"


def test_the_code_map_is_what_the_modules_say_of_themselves() -> None:
    written = (EXPLANATION / "code-map.md").read_text(encoding="utf-8")
    assert written == MAP.code_map(), "run: python docs/explanation/generate.py"


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _modules(*tops: str) -> list[Path]:
    return [path for top in tops for path in sorted((ROOT / top).rglob("*.py"))]


@pytest.mark.parametrize(
    "path", _modules("worker", "tasks", "models", "simulator", "client/evergrant_client"), ids=_name
)
def test_the_first_line_of_a_module_is_a_whole_sentence(path: Path) -> None:
    line = MAP.first_line(path)
    assert len(line) > 20
    assert line.endswith((".", "?")), line


def test_what_the_code_map_names_stands_in_the_file_that_it_leads_to() -> None:
    named = re.findall(r"\[`(\w+)`\]\(\.\./\.\./([\w/.]+\.py)\)", MAP.TOLD)
    assert len(named) > 10
    assert [name for name, path in named if not re.search(rf"\b{name}\b", (ROOT / path).read_text())] == []


def _statements(path: Path) -> Iterator[str]:
    """The SQL of a module: its strings, those within f-strings too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_the_code_map_names_every_file_whose_statements_write_when_a_grant_is_due() -> None:
    written = re.compile(
        r"update\s+evergrant\.grants\b[^;]*\bdue_at = |insert into evergrant\.grants\s*\([^)]*\bdue_at\b"
    )
    writers = {
        _name(path)
        for path in _modules("models", "tasks", "worker")
        if any(written.search(statement) for statement in _statements(path))
    }
    told = re.search(r"- \*\*Which statement may write `due_at`.+\n(?:  .+\n)+", MAP.code_map())
    assert told is not None
    composed = {"models/set_back.py"}  # its statements are made of the names of columns, table by table
    assert writers | composed == set(re.findall(r"  - \[`(models/\w+\.py)`\]", told[0]))


def test_one_statement_alone_makes_a_grant_need_consent() -> None:
    made = re.compile(r"update\s+evergrant\.grants\b[^;]*\bstatus = [^,;]*then 'needs_consent'")
    found = [path for path in _modules("models", "tasks", "worker") for each in _statements(path) if made.search(each)]
    assert [_name(path) for path in found] == ["models/ended_attempt.py"]


def test_every_command_is_on_its_page() -> None:
    page = (REFERENCE / "commands.md").read_text(encoding="utf-8")
    for name, _ in every_command():
        assert f"# {name}\n" in page, name


def test_every_setting_is_on_its_page() -> None:
    page = (REFERENCE / "settings.md").read_text(encoding="utf-8")
    for name in Settings.model_fields:
        assert f"`EVERGRANT_{name.upper()}`" in page


def test_every_exit_code_is_explained() -> None:
    assert set(GENERATOR.EXIT_CODES) == set(ExitCode)


def test_every_column_of_a_grant_has_a_clause_that_says_what_it_means() -> None:
    assert [column.name for column in inspect(Grant).columns if not column.doc] == []
