"""Fixtures of the tests that need real servers."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import SecretStr
from sqlalchemy import text

import settings
from models import database as models_database
from models import installation
from models.vault import KeyRing
from tasks.workplace import Workplace
from tests.heart import Heart
from worker.embedded.binaries import postgres_bin

ROOT = Path(__file__).resolve().parents[2]
OURS = (ROOT / "worker", Path(sys.prefix) / "bin", Path(sys.base_prefix) / "bin")
RunAs = Callable[[int, str, Path], str]


@pytest.fixture
def run_as() -> RunAs:
    """`run_as(uid, code, folder)`: run Python code as another user, who owns `folder`; returns what it printed.

    Where we are no root ourselves, it runs as us.
    """
    return _run_as


def _run_as(uid: int, code: str, folder: Path) -> str:
    become: list[str] = []
    if os.geteuid() == 0:
        folder.mkdir(exist_ok=True)
        os.chown(folder, uid, uid)
        become = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        if not _open_to_all(*OURS, folder):
            # The user may pass through the folders above that are shut, and no more than that.
            become += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    done = subprocess.run(
        [*become, sys.executable, "-c", code],
        cwd="/",
        env={"PYTHONPATH": str(ROOT), "HOME": str(folder), "PATH": "/usr/bin:/bin", "FOLDER": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _open_to_all(*paths: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for path in paths for folder in path.parents)


@pytest.fixture
def named_user() -> int:
    """A user of this machine that is not root."""
    return pwd.getpwnam("daemon").pw_uid


@pytest.fixture
def nameless_user() -> int:
    """A number that no user of this machine has, as some containers give."""
    return next(uid for uid in range(54_321, 60_000) if uid not in {u.pw_uid for u in pwd.getpwall()})


@pytest.fixture
def reachable_by_all() -> bool:
    """Whether other users may enter the folder that PostgreSQL's programs lie in."""
    return _open_to_all(postgres_bin() / "postgres")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that others may enter, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="evergrant-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def as_if_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the choice of identity believe that we are root; for others than root it can then only refuse."""
    monkeypatch.setattr("os.geteuid", lambda: 0)


@pytest.fixture(scope="session")
def heart_url(shared_servers: Any) -> Iterator[str]:
    """URL of one database for all tests of the heart; each finds it empty, which costs less than one of its own."""
    name = f"heart_{shared_servers.worker_number}_{time.monotonic_ns()}"
    with shared_servers.postgres.connect() as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE evergrant_template")
    yield shared_servers.postgres.url_of(name)
    with shared_servers.postgres.connect() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def heart(heart_url: str, tmp_path: Path) -> Iterator[Heart]:
    """A workplace of its own on an empty database."""
    before = list(settings._current)
    settings.adopt(
        settings.Settings(
            database_url=SecretStr(heart_url),
            home=tmp_path / "home",
            environment="test",
            refresh_token_keys=SecretStr(KeyRing.generate_line("r1")),
            access_token_keys=SecretStr(KeyRing.generate_line("a1")),
            database_pool=12,
        )
    )
    settings.current().home.mkdir(mode=0o700)
    with models_database.transaction() as connection:
        connection.execute(
            text("""truncate evergrant.clients, evergrant.valves, evergrant.grants, evergrant.former_tokens,
                evergrant.refresh_requests, evergrant.revocations, evergrant.dead_letters, evergrant.events,
                evergrant.journals, evergrant.ticks, evergrant.connect_requests restart identity""")
        )
        installation.adopt(connection, installation.observed(connection, "test"), who="tests")
    # Plain lines: the pretty tracebacks that structlog starts with take seconds.
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()])
    place = Workplace.open(settings.current())
    yield Heart(place)
    place.close()
    structlog.reset_defaults()
    models_database.dispose()
    settings._current[:] = before
