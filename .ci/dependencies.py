"""Print the fingerprint of all that pyproject.toml says about dependencies: a lock is stale when it names another."""

import hashlib
import json
import tomllib
from pathlib import Path


def fingerprint(pyproject: Path) -> str:
    """The first 16 hex digits of a SHA-256, the same for the same requirements however they are laid out."""
    read = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    project = read["project"]
    said = [
        read["build-system"]["requires"],
        project["requires-python"],
        project["dependencies"],
        project["optional-dependencies"],
        read["dependency-groups"],
    ]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


if __name__ == "__main__":
    print(fingerprint(Path(__file__).resolve().parents[1] / "pyproject.toml"))
