"""A child process that can be started again, stopped politely, and that never outlives us."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from worker.embedded.environment import of_an_engine

_LAUNCH = Path(__file__).with_name("launch.py")
_KILL_GRACE_SECONDS = 5.0

Identity = Literal["same", "namespace", "nobody"]
Log = IO[bytes] | IO[str] | int | None


@dataclass(frozen=True, kw_only=True)
class Program:
    """What to run, and how it likes to be ended."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    inherits: Callable[[Mapping[str, str]], dict[str, str]] = of_an_engine
    """What it gets of our environment, `env` beside."""
    identity: Identity = "same"
    stop_signal: signal.Signals = signal.SIGTERM
    kill_signal: signal.Signals = signal.SIGKILL
    """Sent when patience is over; a last SIGKILL follows where it is a milder one."""
    grace_seconds: float = 10.0
    """How long a stop may take before the program is killed."""
    silence_seconds: float = 60.0
    """How long the database may hear nothing of it, while it hears of others, before it is taken for one that hangs."""


class Process:
    """One program in a session of its own (a terminal's Ctrl-C does not reach it), tied to our life.

    Launch it from the main thread: the kernel ties a child to the *thread* that started it.
    """

    def __init__(self, program: Program, *, log: Log = None) -> None:
        self.program = program
        self.log = log
        self.launches = 0
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """The name in logs and in the state file."""
        return self.program.name

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._popen.pid if self._popen and self.alive() else None

    @property
    def exit_code(self) -> int | None:
        """How the last launch ended; negative is a signal's number; None while it runs or before it ran."""
        return self._popen.poll() if self._popen else None

    def alive(self) -> bool:
        """Whether it runs now."""
        return self._popen is not None and self._popen.poll() is None

    def prepare(self) -> None:
        """What must be in place before each launch."""

    def launch(self) -> None:
        """Start the program and return at once."""
        if threading.current_thread() is not threading.main_thread():
            message = f"{self.name} must be launched from the main thread: it would end with this one"
            raise RuntimeError(message)
        self.prepare()
        self.launches += 1
        self._popen = subprocess.Popen(  # noqa: S603  # our own command
            command(self.program),
            env=self.program.inherits(os.environ) | dict(self.program.env),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )

    def ask_to_stop(self) -> None:
        """Send the signal that ends it politely."""
        self._send(self.program.stop_signal)

    def stop(self) -> None:
        """End it and wait: politely first, by force once its grace is over."""
        self.ask_to_stop()
        if not self.wait(self.program.grace_seconds):
            self.kill()

    def kill(self) -> None:
        """End it now, with all that it started in its session."""
        self._send(self.program.kill_signal)
        if self.program.kill_signal == signal.SIGKILL or not self.wait(_KILL_GRACE_SECONDS):
            self._send(signal.SIGKILL, group=True)
        self.wait(_KILL_GRACE_SECONDS)

    def wait(self, seconds: float) -> bool:
        """Wait for its end; False if it still runs after `seconds`."""
        if self._popen is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(seconds)
        return not self.alive()

    def _send(self, number: signal.Signals, *, group: bool = False) -> None:
        if self._popen is not None and self.alive():
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(self._popen.pid, number)


def command(program: Program) -> list[str]:
    """The command line that starts `program` through launch.py."""
    # The death signal is the polite one: a worker should journal the answers that are on their way.
    tie = [str(os.getpid()), str(int(program.stop_signal)), program.identity]
    return [sys.executable, "-I", "-S", str(_LAUNCH), *tie, *program.argv]
