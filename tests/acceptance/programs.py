"""Real processes: started from the project's folder, ended by their id, and gone when this process is."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from settings import PREFIX
from worker.embedded.process import Program, command

ROOT = Path(__file__).resolve().parents[2]


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Ours, without what a developer has set for their own Evergrant."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith((PREFIX, "PYTHONPATH"))}
    return {**ours, "PYTHONUNBUFFERED": "1", **more}


class Running:
    """One program that runs; start it from the main thread."""

    def __init__(self, name: str, argv: Sequence[str], *, env: Mapping[str, str], log: Path, root: Path = ROOT) -> None:
        """`root`: the checkout whose code runs."""
        self.name = name
        self.log = log
        with log.open("wb") as output:
            self._popen = subprocess.Popen(
                command(Program(name=name, argv=argv, stop_signal=signal.SIGKILL)),
                cwd=root,
                env=environment(env) | ({} if root == ROOT else {"PYTHONPATH": str(root)}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    def said(self, sentence: str) -> bool:
        """Whether its output holds a sentence; an error once it has ended without."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        assert sentence in text or self._popen.poll() is None, text
        return sentence in text

    def terminate(self) -> None:
        self._popen.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = 60) -> int:
        return self._popen.wait(seconds)

    def kill(self) -> None:
        """Kill -9, with all that it started."""
        if self._popen.poll() is None:
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait(20)

    def stop(self, seconds: float = 60) -> int:
        """SIGTERM, and its exit code."""
        if self._popen.poll() is None:
            self.terminate()
        return self.wait(seconds)
