"""The engines that all test processes share come once and leave nothing behind."""

import subprocess
import sys
from pathlib import Path
from typing import IO

import psycopg

import settings
from tests.polling import eventually
from worker.embedded.home import Home
from worker.embedded.lock import holder

ROOT = Path(__file__).resolve().parents[2]
USER = """
import sys, time, pathlib
from tests import shared_engines
with shared_engines.joined(pathlib.Path(sys.argv[1])) as home:
    print(home, flush=True)
    time.sleep(60)
"""


def a_user(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", USER, str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline().strip()


def test_each_test_has_a_new_database_with_the_tables(adopted: settings.Settings, postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        row = connection.execute("SELECT count(*) FROM evergrant.grants").fetchone()
    assert row == (0,)


def test_the_engines_are_shared_and_end_after_the_last_user_was_killed(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with a_user(tmp_path) as first, a_user(tmp_path) as second:
        assert line(first.stdout) == line(second.stdout) == str(home.path)
        keeper = holder(home)
        first.kill()
        first.wait(10)
        with a_user(tmp_path) as third:
            assert line(third.stdout) == str(home.path)
            assert holder(home) == keeper
            third.kill()
        second.kill()
    eventually(lambda: not home.path.exists())
    eventually(lambda: not Path(f"/proc/{keeper}").exists())
