"""Whether what `evergrant up` has started is at work: each process says so in the database, once it is."""

import socket
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

import structlog

from models import database
from models.views import fleet
from worker.embedded.process import Process

LONG_SECONDS: Final = 20.0
LOOK_SECONDS: Final = 0.5
LOOK_AFTER_LONG_SECONDS: Final = 5.0

log = structlog.get_logger()


class Readiness:
    """While it is entered, looks until all of them are at work, and logs that once; also once, that it takes long.

    It looks on a thread of its own: a database that says nothing holds a look up for many seconds, in which whoever
    supervises has to heed signals and to start again what dies.
    """

    def __init__(self, processes: Sequence[Process]) -> None:
        self._processes = processes
        self._began = time.monotonic()
        self._missing = [each.name for each in processes]  # replaced as a whole by the thread, empty at its end
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_looking, name="readiness", daemon=True)
        self._ready = False
        self._told_long = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()  # not waited for: it may hang

    def look(self) -> None:
        """Say what there is to say; returns at once, whatever the database does."""
        if self._ready:
            return
        waited, missing = time.monotonic() - self._began, self._missing
        if not missing:
            self._ready = True
            log.info("ready", seconds=round(waited, 1))
        elif waited > LONG_SECONDS and not self._told_long:
            self._told_long = True
            log.warning("not_ready", waits_for=missing, seconds=round(waited, 1))

    def _keep_looking(self) -> None:
        failed = False
        while self._missing and not self._ended.is_set():
            try:
                self._missing = self._looked()
            except Exception:
                if not failed and not self._ended.is_set():
                    log.exception("readiness.look_failed", reason="Whether all are at work could not be read")
                failed = True
            self._ended.wait(pause(time.monotonic() - self._began))

    def _looked(self) -> list[str]:
        pids = [each.pid for each in self._processes]
        if None in pids:  # ended, and to be started again
            return [each.name for each, pid in zip(self._processes, pids, strict=True) if pid is None]
        at_work = _at_work()
        return [each.name for each, pid in zip(self._processes, pids, strict=True) if pid not in at_work]


def pause(waited: float) -> float:
    """How long to rest before the next look, in seconds: what takes long is not hastened by being asked."""
    return LOOK_SECONDS if waited <= LONG_SECONDS else LOOK_AFTER_LONG_SECONDS


def _at_work() -> set[int]:
    """Who of this machine has said lately that it lives."""
    try:
        with database.passing_transaction() as connection:
            rows = fleet.processes(connection)
    except database.AWAY:  # it is being started again, or the user's own is away
        return set()
    host = socket.gethostname()
    return {row["pid"] for row in rows if row["alive"] and row["host"] == host}
