"""A process imports what it uses: the start of every command, and the memory of every beat, hang on it."""

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
VERSION = "from worker.cli import run; assert run(['--version']) == 0"
# Every page of help there is: a group's lists its commands, a command's shows the choices of its options.
HELP = """
import click
from worker.cli import cli, run
def lines(group, words=()):
    yield [*words, "--help"]
    for name in group.names:
        command = group.get_command(click.Context(group), name)
        yield from lines(command, (*words, name)) if isinstance(command, click.Group) else [[*words, name, "--help"]]
pages = list(lines(cli))
assert len(pages) > 60
assert not any(run(words) for words in pages)
"""
# What a shell asks for, by the word that is being typed: a command, a command of a group, an option, a value.
COMPLETION = """
import os
from worker.cli import COMPLETION_VARIABLE, main
os.environ[COMPLETION_VARIABLE] = "zsh_complete"
for words in ("evergrant gr", "evergrant grants re", "evergrant clients set --r", "evergrant keys generate --ring r"):
    os.environ |= {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    try:
        main()
    except SystemExit as end:
        assert end.code == 0
"""
PROVIDERS = "from worker.cli import run; assert run(['providers', 'list']) == 0"
# As `celery beat` does it: our Beat instead of Celery's, and the scheduler of celeryconfig.
BEAT = """
from celery.utils.imports import symbol_by_name
import worker.cli.beat
from worker.celery import app
app.Beat(quiet=True).init_loader()
symbol_by_name(app.conf.beat_scheduler)
assert "tasks.claim" in sys.modules
"""
# As `celery worker` does it, before its pool is made.
WORKER = """
from worker.celery import app
app.loader.import_default_modules()
assert "worker.service" in sys.modules
"""


ALL = {
    *("aiohttp", "alembic", "asyncio", "celery", "cryptography", "jinja2", "kombu", "psycopg", "pydantic", "redis"),
    *("rich", "settings", "sqlalchemy", "structlog", "tenacity"),
}
# Redis' client loads a part of OpenTelemetry where it is installed: what sends spans is ours alone.
UNTRACED = {"opentelemetry.sdk.trace", "opentelemetry.exporter", "requests"}


@pytest.mark.parametrize(
    ("program", "spared"),
    [
        (VERSION, ALL),
        (HELP, ALL),
        (COMPLETION, ALL),
        (PROVIDERS, ALL - {"asyncio", "pydantic", "settings"}),
        (WORKER, {"alembic", "jinja2", *UNTRACED}),
        (
            BEAT,
            {
                "aiohttp",
                "alembic",
                "models.sealing.vault",
                "tasks.refresh",
                "tasks.oauth.provider",
                "tenacity",
                *UNTRACED,
            },
        ),
    ],
    ids=["--version", "--help", "completion", "providers list", "worker", "beat"],
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
