"""A process imports what it uses: the start of every command, and the memory of every beat, hang on it."""

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
VERSION = "from worker.cli import run; assert run(['--version']) == 0"
HELP = "from worker.cli import run; assert run(['grants', '--help']) == 0"
LIST = "import worker.cli.grants, worker.cli.grant_lists"
# As `celery beat` does it: our Beat instead of Celery's, and the scheduler of celeryconfig.
BEAT = """
from celery.utils.imports import symbol_by_name
import worker.cli.processes
from worker.celery import app
app.Beat(quiet=True).init_loader()
symbol_by_name(app.conf.beat_scheduler)
assert "tasks.claim" in sys.modules
"""


@pytest.mark.parametrize(
    ("program", "spared"),
    [
        (VERSION, {"aiohttp", "alembic", "celery", "cryptography", "pydantic", "rich", "settings", "sqlalchemy"}),
        (HELP, {"aiohttp", "alembic", "celery", "cryptography", "pydantic", "rich", "settings", "sqlalchemy"}),
        (LIST, {"aiohttp", "alembic", "celery"}),
        (BEAT, {"aiohttp", "alembic", "models.sealing.vault", "tasks.refresh", "tasks.oauth.provider", "tenacity"}),
    ],
    ids=["--version", "--help", "grants list", "beat"],
)
def test_what_is_not_used_is_not_imported(program: str, spared: set[str]) -> None:
    listing = "\nprint('\\nimported:', *sorted(sys.modules), sep='\\n')"
    environment = {"PYTHONPATH": str(PROJECT), "EVERGRANT_ENVIRONMENT": "test"} | {
        "EVERGRANT_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
        "EVERGRANT_BROKER_URL": "redis://127.0.0.1:1",
    }
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}{listing}"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert sorted(spared & set(done.stdout.split("imported:")[1].split())) == []
