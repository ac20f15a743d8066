"""`evergrant up`: engines, web, workers and beat on one machine, started, watched and ended together.

Start: PostgreSQL, Valkey, migrations, then web where a bind is set, then workers, then beat. End, at SIGINT, SIGTERM
or SIGHUP: the other way round, PostgreSQL last. A second signal kills. A child that dies is started again after 1 s,
then 2 s … 30 s; one that hangs is killed first.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO

import structlog

import settings as our_settings
from settings import Settings
from worker.embedded import discovery, logins
from worker.embedded.engines import Engines
from worker.embedded.environment import of_ours
from worker.embedded.errors import EmbeddedError
from worker.embedded.keys import ensure_keys
from worker.embedded.log_file import LogFile
from worker.embedded.place import place_of
from worker.embedded.process import Process, Program
from worker.embedded.readiness import Readiness
from worker.embedded.refusal import refuse_lost_rings, refuse_unfit
from worker.embedded.rings import missing_rings
from worker.embedded.signals import Signals
from worker.embedded.silence import Silence

ROOT = Path(__file__).resolve().parents[2]
BACKOFF_FIRST_SECONDS = 1.0
BACKOFF_CAP_SECONDS = 30.0
HEALTHY_SECONDS = 60.0
"""A child that ran this long begins anew with the shortest back-off."""
_LOOK_SECONDS = 0.5
_STOP_LOOK_SECONDS = 0.1
_SETTLE_SECONDS = 15.0
"""What a worker gets beyond the HTTP deadline to settle the last answers."""
_WEB_GRACE_SECONDS = 20.0
"""Slow readers get a few seconds, and a database that says nothing."""

_BEAT_SILENCE_SECONDS = 180.0
"""It speaks between two looks, and one at many clients that somebody has locked takes long."""

COPIED = "it was copied or moved: nothing is sent before `evergrant db adopt`; see first that the original is stopped"
MAKE_ROOM = "make room on the disk of the home; until then commands may name processes that have ended"

log = structlog.get_logger()

Stage = Sequence[Program]


def stages(settings: Settings, *, workers: int, concurrency: int) -> list[Stage]:
    """The processes beside the engines, in the order of their start; those of one stage end together."""
    worker_grace = settings.http_deadline_seconds + _SETTLE_SECONDS
    web = (
        [[evergrant("web", name="web", grace_seconds=_WEB_GRACE_SECONDS, without=("refresh", "traces"))]]
        if settings.wants_web
        else []
    )
    return [
        *web,
        [
            evergrant(
                "worker",
                name=f"worker-{number}",
                env={"EVERGRANT_CONCURRENCY": str(concurrency)},
                grace_seconds=worker_grace,
            )
            for number in range(1, workers + 1)
        ],
        [evergrant("beat", name="beat", silence_seconds=_BEAT_SILENCE_SECONDS, without=("refresh", "access"))],
    ]


def evergrant(
    *arguments: str,
    name: str,
    env: Mapping[str, str] | None = None,
    grace_seconds: float = 10,
    silence_seconds: float = Program.silence_seconds,
    without: tuple[str, ...] = (),
) -> Program:
    """One of our own commands, run by this Python, whatever folder we are in; `without`: what it does not get."""
    argv = [sys.executable, "-P", "-m", "worker.cli", *arguments]
    checkout = {"PYTHONPATH": str(ROOT)} if (ROOT / "pyproject.toml").exists() else {}
    return Program(
        name=name,
        argv=argv,
        env={**checkout, **(env or {})},
        inherits=partial(of_ours, without=without),
        grace_seconds=grace_seconds,
        silence_seconds=silence_seconds,
    )


def run(settings: Settings, *, workers: int, concurrency: int, log_file: LogFile | None = None) -> int:
    """Run everything until a signal; returns the exit code: 0 after a clean stop, 1 after a forced one.

    Call it from the main thread. `log_file` takes the lines of all that is started; None: our standard error.

    Raises:
        EmbeddedError: the home is taken, a key ring is missing or lost, or an engine does not start.
        SettingsError, RingOpen: something is set that cannot work, see refusal.py.

    """
    refuse_unfit(settings)
    return supervise(settings, stages(settings, workers=workers, concurrency=concurrency), log_file=log_file)


def supervise(settings: Settings, programs: Sequence[Stage], *, log_file: LogFile | None = None) -> int:
    """Run the engines that have no URL, and `programs` on them; see `run`."""
    lines_to = sys.stderr if log_file is None else log_file.lines
    engines = Engines(
        settings.home,
        postgres=settings.database_url is None,
        valkey=settings.broker_url is None,
        log=lines_to,
    )
    with Signals() as signals:
        engines.start(give_up=lambda: signals.stops > 0)
        supervisor = Supervisor(engines, signals, lines_to=lines_to)
        try:
            if not signals.stops:
                prepare(settings, engines)
                supervisor.start(programs)
                with Readiness(supervisor.started) as readiness, Silence(supervisor.started) as silence:
                    shorten = [] if log_file is None else [log_file.shorten]
                    supervisor.watch(readiness.look, silence.look, *shorten)
        finally:
            clean = supervisor.stop()
    return 0 if clean else 1


def prepare(settings: Settings, engines: Engines) -> None:
    """Adopt the engines' URLs, bring the tables to this release, and make missing keys.

    Raises:
        RingLost: keys are missing that values are sealed with.

    """
    from models import database, migrations
    from models.errors import NewerDatabase
    from models.installation import found_at, observed, remember
    from models.sealing import key_use

    found = discovery.resolve(settings, broker_needed=True)
    our_settings.adopt(found)
    try:
        migrations.upgrade()
    except NewerDatabase as error:
        # Taken back by one release: its processes may go on there, as they do beside the new ones.
        log.warning("database.newer", revision=error.revision, remedy="install the newer release again")
    if engines.database_url is not None:
        if missing_rings(settings, engines.home):
            with database.transaction() as connection:
                refuse_lost_rings(key_use.counts(connection), engines.home, settings)
        ensure_keys(engines.home, settings)
        found = discovery.resolve(settings, broker_needed=True)  # with the rings
        our_settings.adopt(found)
    with database.transaction() as connection:
        remember(connection, observed(connection, found.environment or ""), who=found.who)
        if engines.database_url is not None:
            if not found_at(connection, place_of(engines.home.postgres)):
                log.error("home.copied", home=str(engines.home.path), next=COPIED)
            engines.role_urls = logins.make(connection, engines.postgres)
    database.dispose()


@dataclass
class Watched:
    """A child and what its restarts depend on."""

    process: Process
    launched_at: float
    backoff: float = BACKOFF_FIRST_SECONDS
    due_at: float | None = None
    """When to start it again (monotonic); None while it runs."""
    log_from: int = 0
    """How many bytes of the log are older than it."""


class Supervisor:
    """Watches the engines and the processes on them; the caller holds the signals.

    `lines_to` takes the processes' own lines (a file with a descriptor); None: our standard error.
    """

    def __init__(self, engines: Engines, signals: Signals, *, lines_to: IO[str] | None = None) -> None:
        self._engines = engines
        self._signals = signals
        self._lines_to = lines_to
        self._unpublished = False
        self._stages: list[list[Watched]] = [[_watched(engine)] for engine in engines.running]

    def start(self, programs: Sequence[Stage]) -> None:
        """Start `programs`, stage after stage, and publish what runs."""
        for stage in programs:
            watched = [_watched(self._process(program)) for program in stage]
            self._stages.append(watched)
            for one in watched:
                self._launch(one)
        self._publish()
        log.info("up", home=str(self._engines.home.path), processes=[p.name for p in self._processes()])

    @property
    def started(self) -> list[Process]:
        """The processes on the engines."""
        return [one.process for stage in self._stages for one in stage if one.process not in self._engines.running]

    def watch(self, *beside: Callable[[], None]) -> None:
        """Start again what dies, until a stop is asked for; each look does what is `beside` as well.

        What fails beside is logged, the first time, and keeps nobody from looking after the processes.
        """
        failed: set[Callable[[], None]] = set()
        while not self._signals.stops:
            self.look()
            for each in beside:
                try:
                    each()
                except Exception:
                    if each not in failed:
                        log.exception("beside_failed", reason=f"{each.__qualname__} failed; all goes on")
                    failed.add(each)
            self._signals.wait(_LOOK_SECONDS)

    def look(self) -> None:
        """Look once after everything."""
        changed = [self._look_after(one) for stage in self._stages for one in stage]
        if True in changed or self._unpublished:
            self._publish_if_there_is_room()

    def process(self, name: str) -> Process:
        """One of the processes on the engines, by its name."""
        return next(process for process in self._processes() if process.name == name)

    def stop(self) -> bool:
        """End everything, the last started first; False if something had to be killed."""
        asked = self._signals.stops
        log.info("stopping", again="a second signal kills")
        clean = True
        for stage in reversed(self._stages):
            clean &= self._stop_stage([one.process for one in stage], asked=asked)
        self._engines.stop()
        log.info("down", clean=clean)
        return clean

    def _stop_stage(self, processes: Sequence[Process], *, asked: int) -> bool:
        """Ask all of one stage to end and wait; kill at another signal, or when the grace is over."""
        for process in processes:
            process.ask_to_stop()
        deadline = time.monotonic() + max(p.program.grace_seconds for p in processes)
        while running := [p for p in processes if p.alive()]:
            if self._signals.stops > max(1, asked) or time.monotonic() > deadline:
                log.warning("killed", processes=[p.name for p in running])
                for process in running:
                    process.kill()
                return False
            self._signals.wait(_STOP_LOOK_SECONDS)
        return True

    def _look_after(self, one: Watched) -> bool:
        """Notice a death, or start again what is due for it; True if anything changed."""
        now = time.monotonic()
        if one.due_at is None and one.process.alive():
            if now - one.launched_at > HEALTHY_SECONDS:
                one.backoff = BACKOFF_FIRST_SECONDS
            return False
        if one.due_at is None:
            log.error(
                "died",
                name=one.process.name,
                exit_code=one.process.exit_code,
                again_in_s=one.backoff,
                log_from=one.log_from,
            )
            _postpone(one, now)
            return True
        if now < one.due_at:
            return False
        self._launch_again(one, now)
        return True

    def _launch(self, one: Watched) -> None:
        one.log_from = os.fstat((self._lines_to or sys.stderr).fileno()).st_size  # of a pipe it is 0
        one.process.launch()

    def _launch_again(self, one: Watched, now: float) -> None:
        try:
            self._launch(one)
        except (EmbeddedError, OSError) as error:
            log.error("not_started", name=one.process.name, reason=str(error), again_in_s=one.backoff)  # noqa: TRY400
            _postpone(one, now)
        else:
            one.launched_at, one.due_at = now, None
            log.info("restarted", name=one.process.name, pid=one.process.pid)

    def _process(self, program: Program) -> Process:
        env = {**program.env, "EVERGRANT_HOME": str(self._engines.home.path)}
        return Process(replace(program, env=env), log=self._lines_to or sys.stderr)

    def _processes(self) -> list[Process]:
        return [one.process for stage in self._stages for one in stage]

    def _publish(self) -> None:
        self._engines.publish(self.started)

    def _publish_if_there_is_room(self) -> None:
        """Commands find an older state until the next look that finds room: no reason to end what runs."""
        try:
            self._publish()
        except OSError as error:
            if not self._unpublished:
                log.error("state_not_written", reason=f"What runs could not be noted ({error})", remedy=MAKE_ROOM)  # noqa: TRY400
            self._unpublished = True
        else:
            self._unpublished = False


def _watched(process: Process) -> Watched:
    return Watched(process, launched_at=time.monotonic())


def _postpone(one: Watched, now: float) -> None:
    one.due_at = now + one.backoff
    one.backoff = min(2 * one.backoff, BACKOFF_CAP_SECONDS)
