"""What the supervisor does beside looking after its processes never keeps it from that."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from structlog.testing import capture_logs

from worker.embedded.engines import Engines
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
