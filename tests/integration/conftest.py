"""Fixtures of the tests that need real servers."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

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
