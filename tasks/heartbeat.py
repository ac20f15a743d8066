"""The heartbeat of a worker process: says that it lives, and drains the journals of processes that do not."""

import os
import shutil
import signal
import threading
from datetime import timedelta
from uuid import UUID, uuid4

import structlog

from models import journal as register
from models import process
from models.database import Lane, transaction, using
from models.process import Presence
from models.states.installation import DatabaseState
from models.states.process import ProcessKind
from tasks.policy.explanation.faults import JOURNAL
from tasks.runtime import clock, presence
from tasks.runtime.mount import mount_of
from tasks.runtime.runtime import Runtime
from tasks.settling import recover, replay

log = structlog.get_logger()

BEAT = timedelta(seconds=5)
DRAIN = timedelta(minutes=1)
UNSTARTED = timedelta(seconds=15)
DEAF = timedelta(seconds=90)
YOUNG = UNSTARTED + 3 * BEAT  # of a claim that was made anew, and of looks that come late


class Deafness:
    """How long work has waited while a worker takes nothing up; it reads no clock and asks nobody."""

    def __init__(self) -> None:
        self._since: timedelta | None = None
        self._seen_at: timedelta | None = None

    def take(self, *, unstarted: bool, consumed_at: timedelta, at: timedelta) -> bool:
        """One look at `at`: whether a claim is unstarted by then. Returns whether it is deaf, which begins it anew.

        A claim that nobody starts lapses and is made anew, and is young for a while then: that ends nothing.
        """
        if unstarted:
            self._since, self._seen_at = self._since or at, at
        elif self._seen_at is None or at - self._seen_at > YOUNG:
            self._since = None
        if self._since is None or at - max(self._since, consumed_at) < DEAF:
            return False
        self._since = self._seen_at = None
        return True


class Heartbeat:
    """One thread of a worker process; what fails is told and tried again at the next beat."""

    def __init__(self, runtime: Runtime, *, metrics_port: int | None = None) -> None:
        self.runtime = runtime
        self.metrics_port = metrics_port
        self.id = uuid4()
        self.deafness = Deafness()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def end(self) -> None:
        """Stop, and say that this process is gone."""
        self._ended.set()
        self._thread.join(30)
        try:
            with transaction() as connection:
                process.leave(connection, self.id)
        except Exception:
            log.exception("pulse.not_signed_off")

    def _run(self) -> None:
        with using(Lane.CHORES):
            self._beat_on()

    def _beat_on(self) -> None:
        drain_at = clock.boot()
        while True:
            try:
                self._say_alive()
                recover.look(self.runtime)
                self._end_if_deaf()
                if clock.boot() >= drain_at:
                    drain_at = clock.boot() + DRAIN
                    replay.settle_left(self.runtime)
                    replay.drain_others(self.runtime)
                    replay.shred_old(self.runtime)
            except Exception:
                log.exception("pulse.failed")
            if self._ended.wait(BEAT.total_seconds()):
                return

    def _end_if_deaf(self) -> None:
        """End this process if it consumes nothing while work waits; its supervisor starts it again.

        A worker can stay alive and never consume again after a broker came back (celery issues 8030, 10205, 10502).
        """
        with transaction() as connection:
            unstarted = process.work_is_unstarted(connection, wait=UNSTARTED)
        if self.deafness.take(unstarted=unstarted, consumed_at=self.runtime.admission.consumed_at, at=clock.boot()):
            log.error("worker.deaf", remedy="it ends itself, to be started again")
            os.kill(os.getpid(), signal.SIGTERM)

    def _say_alive(self) -> None:
        with transaction() as connection:
            process.see(connection, _presence(self.runtime, self.id, metrics_port=self.metrics_port))
            register.see(connection, self.runtime.journal_id)


def _presence(runtime: Runtime, process_id: UUID, *, metrics_port: int | None) -> Presence:
    """What a worker says: its rings, its journal's disk, and when it last took a message up."""
    return presence.of_process(
        process_id,
        ProcessKind.WORKER,
        environment=runtime.settings.environment,
        metrics_port=metrics_port,
        refresh_key_ids=presence.ids_of(runtime.vault.refresh),
        access_key_ids=presence.ids_of(runtime.vault.access),
        consumed_ago=clock.boot() - runtime.admission.consumed_at,
        fault=_fault(runtime),
        disk_free=_free(runtime),
    )


def _fault(runtime: Runtime) -> str | None:
    """Why it can send nothing now; the file system is named, for a journal's may be another than its home's."""
    reason = runtime.journal.check_writable()
    if reason is None:
        return None
    folder = runtime.journal.folder
    return f"{JOURNAL} cannot be written: {reason} ({folder}, on the file system of {mount_of(folder)})"


def _free(runtime: Runtime) -> int | None:
    try:
        return shutil.disk_usage(runtime.journal.folder).free
    except OSError:
        return None


_heartbeat: list[Heartbeat] = []


def begin(runtime: Runtime, *, metrics_port: int | None = None) -> None:
    """Let this process live; `metrics_port` is told where it serves metrics."""
    state = recover.look(runtime, thoroughly=True)
    if state != DatabaseState.FIT:
        log.error("worker.database_unfit", state=state, remedy="evergrant db check")
    heartbeat = Heartbeat(runtime, metrics_port=metrics_port)
    _heartbeat[:] = [heartbeat]
    heartbeat.start()


def end() -> None:
    """End the heartbeat of this process, if it has one."""
    while _heartbeat:
        _heartbeat.pop().end()
