"""The audit's lines: what they say, how long they are, and where they go when the file is rotated or full."""

import json
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from models.sealing.vault import KeyRing, Vault
from settings import Settings
from worker.audit.file import AuditFile
from worker.audit.trail import LONGEST_LINE, AuditUnwritable, Trail, hashed, line, split

ROOT = Path(__file__).resolve().parents[3]


class Kept:
    """Takes lines."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def write(self, line: bytes) -> None:
        self.lines.append(line)


def written(members: dict[str, Any]) -> list[dict[str, Any]]:
    kept = Kept()
    Trail(kept, environment="test").write(members, outcome="ok")
    assert all(len(each) <= LONGEST_LINE for each in kept.lines)
    return [json.loads(each) for each in kept.lines]


def test_a_line_is_one_object_with_time_environment_and_outcome() -> None:
    (told,) = written({"by": "cli", "ref": "customer 客", "client": None})
    assert list(told) == ["at", "environment", "by", "ref", "outcome"]
    assert told["ref"] == "customer 客"
    assert told["at"][10] == "T"
    assert told["at"].endswith("Z")


@pytest.mark.parametrize("ref", ["\N{GRINNING FACE}" * 255, "\x01" * 255, "\udcff" * 255, "x" * 5000])
def test_no_ref_makes_a_line_too_long_for_one_write(ref: str) -> None:
    assert len(written({"who": ref, "refs": [ref], "client": ref})) == 1


def test_a_text_that_nothing_of_ours_can_be_is_told_by_its_length() -> None:
    assert json.loads(line({"ref": "x" * 1300}))["ref"] == "<string 1300>"


def test_a_long_list_is_several_lines_and_nothing_of_it_is_missing() -> None:
    refs = [f"customer-{n}-{'ü' * 100}" for n in range(500)]
    told = written({"by": "cli", "refs": refs, "client": "temple"})
    assert len(told) > 10
    assert [ref for each in told for ref in each["refs"]] == refs
    assert {each["client"] for each in told} == {"temple"}


def test_a_short_list_is_one_line() -> None:
    assert list(split({"refs": ["a", "b"]})) == [{"refs": ["a", "b"]}]


def test_a_hash_tells_its_key_and_is_that_of_the_sealed_format() -> None:
    ring = KeyRing.parse(KeyRing.generate_line("access-1"))
    vault = Vault(refresh=None, access=ring)
    told = hashed(vault, "the-token", purpose="access")
    assert told == f"access-1:{ring.active.fingerprint(b'the-token')[-16:].hex()}"


def test_a_rotated_file_gets_no_more_lines_and_the_new_one_does(tmp_path: Path) -> None:
    file = AuditFile(tmp_path / "audit")
    file.write(b"1\n")
    (tmp_path / "audit").rename(tmp_path / "audit.1")
    file.write(b"2\n")
    (tmp_path / "audit").unlink()
    (tmp_path / "audit").touch(mode=0o600)
    file.write(b"3\n")
    assert (tmp_path / "audit.1").read_bytes() == b"1\n"
    assert (tmp_path / "audit").read_bytes() == b"3\n"
    file.close()


def test_two_processes_append_to_one_file(tmp_path: Path) -> None:
    one, other = AuditFile(tmp_path / "audit"), AuditFile(tmp_path / "audit")
    for each in (one, other, one):
        each.write(b"x\n")
    assert (tmp_path / "audit").read_bytes() == b"x\n" * 3
    one.close()
    other.close()


def test_a_file_that_becomes_open_to_others_is_written_no_more(tmp_path: Path) -> None:
    file = AuditFile(tmp_path / "audit")
    file.write(b"1\n")
    (tmp_path / "audit").chmod(0o602)
    with pytest.raises(OSError, match="open to other users"):
        file.write(b"2\n")
    assert (tmp_path / "audit").read_bytes() == b"1\n"
    file.close()


def test_a_pipe_that_nobody_reads_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "audit")
    with pytest.raises(OSError, match="No such device"):
        AuditFile(tmp_path / "audit").write(b"1\n")


FULL = """
import resource, sys
from pathlib import Path
from worker.audit.file import AuditFile
file = AuditFile(Path(sys.argv[1]))
file.write(b"a" * 99 + b"\\n")
resource.setrlimit(resource.RLIMIT_FSIZE, (150, resource.RLIM_INFINITY))
for _ in range(2):
    try:
        file.write(b"b" * 99 + b"\\n")
    except OSError as error:
        print(error.strerror)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
file.write(b"c\\n")
"""


def test_the_half_of_a_line_that_a_full_disk_took_is_taken_back(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "audit")],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert len(done.stdout.splitlines()) == 2
    assert (tmp_path / "audit").read_bytes() == b"a" * 99 + b"\nc\n"


def fill(trail: Trail) -> None:
    for _ in range(10_000):
        trail.write({"ref": "x" * 200}, outcome="ok")


def test_a_collector_that_takes_nothing_is_not_waited_for_long(tmp_path: Path) -> None:
    path = tmp_path / "collector.sock"
    settings = Settings(audit_file=f"unix:{path}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(str(path))
        trail = Trail.of(settings)
        assert trail is not None
        with pytest.raises(AuditUnwritable, match=r"timed out|TimeoutError"):
            fill(trail)


@pytest.mark.parametrize("place", ["audit.jsonl", "unix:audit.sock", "unix:/" + "x" * 200])
def test_a_place_that_is_none_is_refused(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from settings import SettingsError, load

    monkeypatch.setenv("EVERGRANT_AUDIT_FILE", place)
    with pytest.raises(SettingsError, match=r"^EVERGRANT_AUDIT_FILE: "):
        load()
