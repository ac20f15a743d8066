"""Everything that runs for one demo, in a throw-away home of its own, so that it runs beside `evergrant up`.

The engines, the simulator, Evergrant's worker and beat, and those of the usual job, all as real processes under the
supervisor of `evergrant up`: it starts again what dies here, too. Nothing of it outlives the demo, nor its folder.
"""

import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import settings
from models import database
from simulator.control import SimulatorControl
from worker import logs
from worker.demo import plan
from worker.embedded import supervisor
from worker.embedded.engines import Engines
from worker.embedded.process import Process, Program
from worker.embedded.signals import Signals
from worker.embedded.supervisor import Supervisor

START_SECONDS = 60.0
COMMAND_SECONDS = 60.0
_LOOK_SECONDS = 0.1


class Stopped(Exception):
    """A signal asked for the end of the demo."""


class NotReady(Exception):
    """A part of the demo did not work; the message says which, and the last that it said."""

    def __init__(self, *, what: str, said: str = "") -> None:
        super().__init__(f"{what}: {said.strip()[-500:]}" if said.strip() else what)


@dataclass
class Installation:
    """What runs; `turn` must be called often, it looks after the processes and shows how things are."""

    home: Path
    engines: Engines
    supervisor: Supervisor
    provider: SimulatorControl
    signals: Signals
    log: Path
    show: Callable[[], None] = lambda: None
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    """The client secrets of both sides at the provider."""

    def turn(self) -> None:
        """Look after every process, show what there is to show, and rest for a moment.

        Raises:
            Stopped: a signal came.

        """
        if self.signals.stops:
            raise Stopped
        self.supervisor.look()
        self.show()
        self.signals.wait(_LOOK_SECONDS)

    def rest(self, seconds: float) -> None:
        """Let time pass."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.turn()

    def wait_until(self, done: Callable[[], bool], *, seconds: float) -> bool:
        """Let time pass until something is so, at most `seconds`; returns whether it is."""
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                return False
            self.turn()
        return True

    def command(self, *arguments: str, stdin: str = "") -> None:
        """Carry out a command line of ours, as a user would type it.

        Raises:
            NotReady: it failed.

        """
        self._run(supervisor.evergrant(*arguments, name="command"), stdin)

    def usual_job(self, *arguments: str) -> None:
        """Carry out a command of the usual job.

        Raises:
            NotReady: it failed.

        """
        self._run(usual_job(*arguments, name="usual-command"), "")

    def _run(self, program: Program, stdin: str) -> None:
        with tempfile.TemporaryFile("w+") as given, tempfile.TemporaryFile("w+") as said:
            given.write(stdin)
            given.seek(0)
            running = subprocess.Popen(  # noqa: S603  # our own commands
                program.argv, env=os.environ | program.env, stdin=given, stdout=said, stderr=said
            )
            try:
                ended = self.wait_until(lambda: running.poll() is not None, seconds=COMMAND_SECONDS)
            finally:
                if running.poll() is None:
                    running.kill()
                    running.wait()
            if self.signals.stops:  # the terminal's Ctrl-C reached it, too
                raise Stopped
            if not ended or running.returncode:
                said.seek(0)
                raise NotReady(what=f"`{' '.join(program.argv[3:])}` failed", said=said.read())


@contextmanager
def installed(signals: Signals, *, keep: bool) -> Iterator[Installation]:
    """Start engines and simulator in a new home; at the end everything is stopped and, unless kept, removed.

    Raises:
        EmbeddedError: an engine does not start.
        NotReady: the simulator does not start.
        Stopped: a signal came.

    """
    with ExitStack() as stack:
        home = stack.enter_context(_new_home(keep=keep))
        log = home / "demo.log"
        lines = stack.enter_context(log.open("w", encoding="utf-8", errors="replace"))
        stack.enter_context(_own_environment(home))
        stack.enter_context(_logging_into(lines))
        stack.callback(database.dispose)
        simulator = Process(
            supervisor.evergrant("simulator", "--port=0", "--lifetime=25s", name="simulator"),
            log=stack.enter_context((home / "simulator.log").open("w", encoding="utf-8")),
        )
        simulator.launch()
        stack.callback(simulator.stop)
        engines = Engines(home, log=lines)
        engines.start(give_up=lambda: signals.stops > 0)
        keeper = Supervisor(engines, signals, lines_to=lines)
        stack.callback(keeper.stop)
        if signals.stops:
            raise Stopped
        supervisor.prepare(settings.current(), engines)
        provider = SimulatorControl(_url_of(simulator, home / "simulator.log"))
        yield Installation(home, engines, keeper, provider, signals, log)


@contextmanager
def _new_home(*, keep: bool) -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="evergrant-demo-"))
    try:
        yield home
    finally:
        if not keep:
            shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _own_environment(home: Path) -> Iterator[None]:
    """Use nothing of the user's own Evergrant: the demo must not touch it."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith(settings.PREFIX)]:
        del os.environ[name]
    os.environ.update({"EVERGRANT_HOME": str(home), "EVERGRANT_ACTOR": "demo", **plan.WAITS})
    settings.adopt(settings.load())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _logging_into(lines: IO[str]) -> Iterator[None]:
    """Keep the demo's own log lines with those of its processes, off the screen."""
    logs.configure("demo", level=settings.current().log_level, into=lines)
    try:
        yield
    finally:
        # What is told after this is told to nobody: `lines` will be closed, which stops no logger.
        logging.getLogger().handlers[:] = [logging.NullHandler()]


def _url_of(simulator: Process, said: Path) -> str:
    end = time.monotonic() + START_SECONDS
    while (found := re.search(r"http://[\d.]+:\d+", said.read_text(encoding="utf-8"))) is None:
        if not simulator.alive() or time.monotonic() > end:
            raise NotReady(what="the simulator did not start", said=said.read_text(encoding="utf-8"))
        time.sleep(_LOOK_SECONDS)
    return found.group()


def usual_job(*arguments: str, name: str) -> Program:
    """A process of the usual job; its settings are in the environment, see preparations.py."""
    argv = [sys.executable, "-P", "-m", "worker.demo.naive", *arguments]
    return Program(name=name, argv=argv, env=supervisor.evergrant(name=name).env, inherits=dict)
