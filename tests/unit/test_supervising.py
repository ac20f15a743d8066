"""What the supervisor does beside looking after its processes never keeps it from that."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
from structlog.testing import capture_logs

from tests.polling import eventually
from worker.embedded.engines import Engines
from worker.embedded.process import Process, Program
from worker.embedded.signals import Signals
from worker.embedded.supervisor import Supervisor


@dataclass
class Looks:
    """Signals that ask for a stop after so many looks."""

    left: int

    @property
    def stops(self) -> int:
        return int(self.left <= 0)

    def wait(self, _: float) -> None:
        self.left -= 1


def test_what_fails_beside_is_logged_once_and_ends_nothing(tmp_path: Path) -> None:
    done = []

    def failing() -> None:
        done.append("failing")
        raise OSError(28, "No space left on device")

    watching = Supervisor(Engines(tmp_path / "home"), cast("Signals", Looks(3)))
    with capture_logs() as told:
        watching.watch(failing, lambda: done.append("the other"))
    assert done == ["failing", "the other"] * 3
    assert [(each["event"], each["log_level"]) for each in told] == [("beside_failed", "error")]
    assert told[0]["exc_info"]


def test_who_dies_is_told_with_where_the_log_was_when_it_was_launched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = Engines(tmp_path / "home")
    monkeypatch.setattr(engines, "publish", lambda _: None)  # nobody has taken the home
    with (tmp_path / "log").open("a", encoding="utf-8") as lines:
        watching = Supervisor(engines, cast("Signals", Looks(0)), lines_to=lines)
        lines.write("before it\n")
        lines.flush()
        with capture_logs() as told:
            program = Program(name="worker-1", argv=["/bin/sh", "-c", "echo goodbye; exit 3"])
            watching.start([[program]])

            def died() -> list[int]:
                watching.look()
                return [each["log_from"] for each in told if each["event"] == "died"]

            assert eventually(lambda: len(died()) > 1 and died()[:2]) == [
                len("before it\n"),
                len("before it\ngoodbye\n"),
            ]


def test_a_full_disk_that_takes_no_state_file_ends_nothing_and_it_is_written_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines, room, written = Engines(tmp_path / "home"), [True], []

    def publish(processes: list[Process]) -> None:
        if not room[0]:
            raise OSError(28, "No space left on device")
        written.append([each.pid for each in processes])

    monkeypatch.setattr(engines, "publish", publish)
    with (tmp_path / "log").open("a", encoding="utf-8") as lines, capture_logs() as told:
        watching = Supervisor(engines, cast("Signals", Looks(0)), lines_to=lines)
        watching.start([[Program(name="worker-1", argv=["/bin/sh", "-c", "exit 3"])]])
        assert len(written) == 1
        watching._stages[-1][0].backoff = 600  # it stays away
        room[0] = False

        def died() -> bool:
            watching.look()
            return any(each["event"] == "died" for each in told)

        eventually(died)
        watching.look()
        assert [each["event"] for each in told] == ["up", "died", "state_not_written"]
        room[0] = True
        watching.look()
        assert written[1:] == [[None]]
        watching.look()
        assert len(written) == 2
