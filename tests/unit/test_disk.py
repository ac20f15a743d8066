"""A file system without room is seen where one is; one that cannot be looked at is nobody's fault."""

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tasks.runtime import disk
from tests.unit.journal.test_journal_small_disk import small_disk
from worker.cli.failures import ExitCode
from worker.cli.translations import translate

ROOT = Path(__file__).resolve().parents[2]
LOOK = "import sys; from pathlib import Path; from tasks.runtime import disk; print(disk.full(Path(sys.argv[1])))"


def test_a_small_file_system_is_full_and_is_named(tmp_path: Path) -> None:
    prefix, mode = small_disk()
    if mode != "tmpfs":
        pytest.skip("nothing can be mounted here")
    done = subprocess.run(
        [*prefix, str(tmp_path), sys.executable, "-c", LOOK, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == f"the disk is full: 0 MiB are left (for {tmp_path}, on the file system of {tmp_path})\n"


def test_where_there_is_room_or_no_home_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "LEAST_ROOM", 1)
    assert disk.full(tmp_path) is None
    monkeypatch.setattr(disk, "LEAST_ROOM", 2**62)
    assert disk.full(tmp_path / "nowhere") is None


def test_what_a_database_elsewhere_says_of_its_disk_is_told_first() -> None:
    said = "connection failed: FATAL:  could not write init file: No space left on device"
    told = translate(psycopg.OperationalError(said))
    assert told.message.startswith("A disk of the machine that it runs on is full: the database did not answer")
    assert (told.code, told.exit_code) == ("database_away", ExitCode.TRY_AGAIN)
    assert told.next_step == "make room there, then try again"
