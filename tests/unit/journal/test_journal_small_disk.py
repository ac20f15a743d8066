"""A disk that really fills up, under a journal in a process of its own."""

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.journal import Entry

MakeEntry = Callable[..., Entry]

ROOT = Path(__file__).parents[3]

ON_A_SMALL_DISK = """
import resource, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from models.sealing.vault import KeyRing, Vault
from tasks.journal import Entry, Journal, JournalBroken, Sizes, take_over

folder, mode = Path(sys.argv[1]), sys.argv[2]
now = [datetime(2025, 11, 24, tzinfo=UTC)]
ballast = folder / "ballast"

def shrink():
    if mode == "tmpfs":
        ballast.write_bytes(bytes(40_000))
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))

def make_room():
    if mode == "tmpfs":
        ballast.unlink()
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

def entry(n):
    return Entry(kind="refresh", grant_id=str(n), client="c", ref=str(n), labels={}, generation=1, fingerprint=b"",
                 credentials_no=1, started_at=now[0], received_at=now[0], status=200, body=bytes(1000))

vault = Vault(KeyRing.parse(KeyRing.generate_line("k")), None)
journal = Journal.open(folder / "journals", 1, vault=vault, clock=lambda: now[0], sizes=Sizes(reserve=8_000))
assert journal.check_writable() is None
shrink()
kept = 0
while journal.check_writable() is None:
    journal.append([entry(kept)])
    kept += 1
    assert kept < 1000
for _ in range(6):
    journal.append([entry(kept)])
    kept += 1
try:
    for _ in range(1000):
        journal.append([entry(kept)])
        kept += 1
    raise SystemExit("the disk never filled")
except JournalBroken as error:
    print(error.reason)
try:
    journal.append([entry(n) for n in range(9000, 9003)])
except JournalBroken:
    pass
assert [k.entry.ref for k in journal.entries()] == [str(n) for n in range(kept)]
assert journal.check_writable()
make_room()
now[0] += timedelta(seconds=2)
assert journal.check_writable() is None, journal.check_writable()
journal.append([entry(kept)])
journal.close()
journal = take_over(folder / "journals", 1, vault=vault)
assert [k.entry.ref for k in journal.unsettled()] == [str(n) for n in range(kept + 1)]
print("kept", kept > 20)
"""


def small_disk() -> tuple[list[str], str]:
    """A real file system of 128 KiB where this user may mount one, else a real limit on the size of a file."""
    mount = 'mount -t tmpfs -o size=128k none "$0" && exec "$@"'
    for unshare in (["unshare", "-m"], ["unshare", "-rm"]):
        prefix = [*unshare, "sh", "-c", mount]
        probe = subprocess.run([*prefix, "/tmp", "true"], capture_output=True, check=False, timeout=60)  # noqa: S108
        if probe.returncode == 0:
            return prefix, "tmpfs"
    return [], "limit"


@pytest.mark.parametrize("kind", ["a full file system", "a file that may not grow"])
def test_on_a_disk_that_really_fills_up_every_answer_is_kept_and_writing_recovers(tmp_path: Path, kind: str) -> None:
    prefix, mode = small_disk() if kind == "a full file system" else ([], "limit")
    command = [*prefix, *([str(tmp_path)] if prefix else [])]
    result = subprocess.run(
        [*command, sys.executable, "-c", ON_A_SMALL_DISK, str(tmp_path), mode],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    reason = os.strerror(errno.ENOSPC if mode == "tmpfs" else errno.EFBIG)
    assert result.stdout.endswith(f"{reason}\nkept True\n")
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
