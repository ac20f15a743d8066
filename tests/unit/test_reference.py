"""The reference pages that are made from the code say what the code says now."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import inspect

from models.grant import Grant
from settings import Settings
from tests.unit.cli.walking import every_command
from worker.cli.failures import ExitCode

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"


def _generator() -> ModuleType:
    spec = spec_from_file_location("reference_pages", REFERENCE / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = _generator()


@pytest.mark.parametrize("name", GENERATOR.PAGES)
def test_a_page_is_what_the_code_makes_of_it(name: str) -> None:
    written = (REFERENCE / name).read_text(encoding="utf-8")
    assert written == GENERATOR.PAGES[name](), "run: python docs/reference/generate.py"


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
