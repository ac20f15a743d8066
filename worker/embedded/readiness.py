"""Whether what `evergrant up` has started is at work: each process says so in the database, once it is."""

import socket
import time
from collections.abc import Sequence
from typing import Final

import structlog

from models import database
from models.views import fleet
from worker.embedded.process import Process

LONG_SECONDS: Final = 20.0

log = structlog.get_logger()


class Readiness:
    """Looks until all of them are at work, and logs that once; also once, that it takes long."""

    def __init__(self, processes: Sequence[Process]) -> None:
        self._processes = processes
        self._began = time.monotonic()
        self._ready = False
        self._told_long = False

    def look(self) -> None:
        """Look once, while there is something to be waited for."""
        if self._ready:
            return
        waited, missing = time.monotonic() - self._began, self._missing()
        if not missing:
            self._ready = True
            log.info("ready", seconds=round(waited, 1))
            database.dispose()  # whoever supervises needs no connection
        elif waited > LONG_SECONDS and not self._told_long:
            self._told_long = True
            log.warning("not_ready", waits_for=missing, seconds=round(waited, 1))

    def _missing(self) -> list[str]:
        pids = [each.pid for each in self._processes]
        if None in pids:  # ended, and to be started again
            return [each.name for each in self._processes if each.pid is None]
        at_work = _at_work()
        return [each.name for each in self._processes if each.pid not in at_work]


def _at_work() -> set[int]:
    """Who of this machine has said lately that it lives."""
    try:
        with database.transaction() as connection:
            rows = fleet.processes(connection)
    except database.AWAY:  # it is being started again, or the user's own is away
        return set()
    host = socket.gethostname()
    return {row["pid"] for row in rows if row["alive"] and row["host"] == host}
