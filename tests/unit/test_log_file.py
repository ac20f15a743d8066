"""The log file of `evergrant up`: it is kept short, and nothing ends because that does not work."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from structlog.testing import capture_logs

from worker.embedded.log_file import LogFile


def test_a_log_that_has_grown_long_goes_on_in_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "up.log"
    with LogFile(path, most_bytes=20) as log, path.open("a", encoding="utf-8") as of_a_process:
        of_a_process.write("the first line\n")
        of_a_process.flush()
        log.shorten()
        assert not log.former.exists()
        of_a_process.write("the second line\n")
        of_a_process.flush()
        log.shorten()
        of_a_process.write("the third\n")
    assert path.read_text(encoding="utf-8") == "the third\n"
    assert log.former.read_text(encoding="utf-8") == "the first line\nthe second line\n"
    assert [each.stat().st_mode & 0o777 for each in (path, log.former)] == [0o600, 0o600]
    with LogFile(path) as log:
        log.lines.write("of the next start\n")
    assert path.read_text(encoding="utf-8") == "the third\nof the next start\n"


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file grows beyond it, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_ends_nothing_and_the_lines_move_once_there_is_room(tmp_path: Path) -> None:
    with LogFile(tmp_path / "up.log", most_bytes=20, again_seconds=0) as log:
        log.lines.write("what was said before\n")
        log.lines.flush()
        with room_for(10), capture_logs() as told:
            log.shorten()
            log.shorten()
        assert [(each["event"], each["log_level"]) for each in told] == [("log.not_moved", "warning")]
        assert [each.name for each in tmp_path.iterdir()] == ["up.log"], (
            "half of a copy takes the room that there is left"
        )
        log.shorten()
        assert log.path.read_bytes() == b""
        assert log.former.read_text(encoding="utf-8") == "what was said before\n"
        log.lines.write("and what was said after\n")
        log.lines.flush()
        with room_for(10), capture_logs() as told:
            log.shorten()
        assert len(told) == 1, "another full disk is another matter"


def test_a_full_disk_is_not_written_full_again_with_every_look(tmp_path: Path) -> None:
    with LogFile(tmp_path / "up.log", most_bytes=20) as log:
        log.lines.write("what was said before\n")
        log.lines.flush()
        with room_for(10), capture_logs():
            log.shorten()
        log.shorten()  # there is room, but this is no minute later
        assert not log.former.exists()


def test_a_log_that_was_removed_is_told_once_and_its_lines_still_move(tmp_path: Path) -> None:
    with LogFile(tmp_path / "up.log", most_bytes=20) as log:
        log.path.unlink()
        with capture_logs() as told:
            log.shorten()
            log.lines.write("what nobody can see here\n")
            log.lines.flush()
            log.shorten()
        assert [each["event"] for each in told] == ["log.removed"]
        assert log.former.read_text(encoding="utf-8") == "what nobody can see here\n"
        assert os.fstat(log.lines.fileno()).st_size == 0
