"""Every SQL statement of ours by name: constants of a module, what a function makes itself, and the SQL functions.

A constant is read as it is after the import, so what it is composed of does not matter. What a function makes is read
from its source: where it is composed, the parts in between stand as `{…}`.
"""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import TextClause

PROJECT = Path(__file__).parents[1]
SQL = re.compile(r"\s*(?:select|insert into|update|delete from|with|create|case when|\()\s")
FUNCTION = re.compile(r"create (?:or replace )?function (?P<name>evergrant\.\w+)\(.*?\$\$(?P<body>.*?)\$\$;", re.DOTALL)
VIEW = re.compile(
    r"create (?:or replace )?view (?P<name>evergrant\.\w+)(?: with \(\w+\))? as\n(?P<body>.*?);", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: `models.claim.DUE`, `models.erasure.FORGET_REF[5]`, `evergrant.request_refresh`."""

    name: str
    text: str
    clause: TextClause | None = None


@cache
def every() -> tuple[Statement, ...]:
    """All statements; the names are the same from run to run, and each stands once."""
    found = [*_of_packages("models", "tasks"), *_of_sources("worker"), *_of_migrations()]
    return tuple(sorted(found, key=lambda each: each.name))


def _of_packages(*names: str) -> Iterator[Statement]:
    for name in names:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            yield from _of_module(module.name)


def _of_module(name: str) -> Iterator[Statement]:
    module = importlib.import_module(name)
    assert module.__file__ is not None
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=constant)]) | ast.AnnAssign(target=ast.Name(id=constant)):
                yield from _of_constant(f"{name}.{constant}", vars(module).get(constant))
    yield from _of_functions(name, tree)


def _of_constant(name: str, value: Any) -> Iterator[Statement]:
    match value:
        case TextClause():
            yield Statement(name, value.text, value)
        case str() if SQL.match(value) and "{" not in value:
            yield Statement(name, value)
        case list() | tuple():
            for n, each in enumerate(value):
                yield from _of_constant(f"{name}[{n}]", each)
        case Mapping():
            for key, each in value.items():
                yield from _of_constant(f"{name}[{key}]", each)


def _of_sources(folder: str) -> Iterator[Statement]:
    for path in sorted((PROJECT / folder).rglob("*.py")):
        module = ".".join(path.relative_to(PROJECT).with_suffix("").parts)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            match node:
                case ast.Assign(targets=[ast.Name(id=constant)]):
                    yield from (Statement(f"{module}.{constant}", text) for text in _texts(node.value))
        yield from _of_functions(module, tree)


def _of_functions(module: str, tree: ast.Module) -> Iterator[Statement]:
    for top in tree.body:
        match top:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield from (Statement(f"{module}.{name}", text) for text in _texts(top))


def _texts(tree: ast.AST) -> Iterator[str]:
    """The SQL that stands in a piece of code; a part of an f-string is not told once more by itself."""
    composed = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        match node:
            case ast.JoinedStr(values=values):
                text = "".join(part.value if isinstance(part, ast.Constant) else "{…}" for part in values)  # type: ignore[misc]
            case ast.Constant(value=str(text)) if id(node) not in composed:
                pass
            case _:
                continue
        if SQL.match(text):
            yield text


def _of_migrations() -> Iterator[Statement]:
    """The newest of each SQL function and view."""
    found = {}
    for path in sorted((PROJECT / "alembic" / "versions").glob("*.sql")):
        text = path.read_text(encoding="utf-8")
        for each in (*FUNCTION.finditer(text), *VIEW.finditer(text)):
            found[each["name"]] = Statement(each["name"], each["body"])
    yield from found.values()
