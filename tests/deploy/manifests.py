"""Documents of YAML files, and what stands in them however deep."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def documents(path: Path) -> list[dict[str, Any]]:
    """Each document of a file."""
    return [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each]


def members(found: Any, name: str) -> Iterator[Any]:
    """Every value that a mapping anywhere in `found` has under this name."""
    if isinstance(found, dict):
        yield from (value for key, value in found.items() if key == name)
    for inner in found.values() if isinstance(found, dict) else found if isinstance(found, list) else ():
        yield from members(inner, name)
