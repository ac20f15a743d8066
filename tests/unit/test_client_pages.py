"""The pages about the client package tell of all that it has, and of nothing else."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import evergrant_client
from evergrant_client import Evergrant, Token, authorization, configuration, httpx
from evergrant_client.errors import EvergrantError
from evergrant_client.testing import FakeEvergrant

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = (ROOT / "docs" / "reference" / "client.md").read_text(encoding="utf-8")
PAGES = [
    ROOT / "README.md",
    ROOT / "client" / "README.md",
    ROOT / "docs" / "reference" / "client.md",
    ROOT / "docs" / "howto" / "use-from-another-application.md",
]


def public(thing: type) -> list[str]:
    return [name for name in vars(thing) if not name.startswith("_")]


def signature(call: object) -> str:
    """As the page writes it: names and defaults, no types."""
    assert callable(call)
    parameters = inspect.signature(call).parameters.values()
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in parameters if each.name != "self"]
    return str(inspect.Signature(bare)).replace("60.0", "60").replace("30.0", "30")


@pytest.mark.parametrize("name", public(Evergrant))
def test_every_method_is_on_its_page_with_its_arguments(name: str) -> None:
    assert f"`{name}{signature(getattr(Evergrant, name))}`" in REFERENCE


def test_the_adapters_are_on_their_page_with_their_arguments() -> None:
    assert f"`auth{signature(httpx.auth)}`" in REFERENCE
    for module in ("requests", "httpx2"):
        assert signature(getattr(evergrant_client, module).auth) == signature(httpx.auth)
    assert set(authorization.Authorization.__slots__) == set(inspect.signature(httpx.auth).parameters)


def test_every_public_name_error_and_variable_is_on_its_page() -> None:
    for name in (*evergrant_client.__all__, *public(FakeEvergrant), *public(Token)):
        assert name in REFERENCE or name == "undecided", name
    errors = {name for name in evergrant_client.__all__ if name[0].isupper()} - {"Evergrant", "Token"}
    assert all(issubclass(getattr(evergrant_client, name), EvergrantError) for name in errors)
    for variable in (configuration.DSN, configuration.KEYS, configuration.URL, configuration.APPLICATION_KEY):
        assert f"`{variable}`" in REFERENCE


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_python_example_names_only_what_there_is(page: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                holder = {"evergrant_client": evergrant_client, "evergrant": FakeEvergrant()}.get(node.value.id)
                assert holder is None or hasattr(holder, node.attr), f"{node.value.id}.{node.attr}"


def test_the_example_for_tests_runs() -> None:
    page = PAGES[-1].read_text(encoding="utf-8")
    (example,) = [
        block for block in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL) if "testing" in block
    ]
    exec(compile(example, "the how-to", "exec"), {})  # noqa: S102  # our own page
