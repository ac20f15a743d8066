"""Waiting requests: asked for by message, and carried out as soon as nobody holds what they need.

Asked at once where that needs no waiting; else kept as a row, and tried again in a thread of its own. Celery's threads
wait for nobody: a message of an application must not hold up a refresh, and is not dropped either.
"""

import json
import threading
from collections.abc import Mapping
from typing import Any

import structlog
from sqlalchemy.exc import DBAPIError, OperationalError

from models import waiting_request
from models.database import Lane, is_locked, transaction, using
from tasks.runtime import lock_holders

log = structlog.get_logger()

TOLD = 200  # characters of a refusal, which repeats what a stranger wrote
AT_ONCE = 50  # in one transaction
SOON = 0.25  # seconds between two tries while any waits
NOW_AND_THEN = 5.0  # what another process has left

_asking = threading.Lock()
_kept = threading.Event()


def ask(function: str, arguments: Mapping[str, Any]) -> None:
    """Call a function of the SQL surface, or keep the request where that had to wait.

    Raises:
        DBAPIError: the function refuses it, or the database is away.

    """
    if not _asked_at_once(function, arguments):
        with transaction() as connection:
            waiting_request.keep(connection, function, json.dumps(arguments))
        _kept.set()


def _asked_at_once(function: str, arguments: Mapping[str, Any]) -> bool:
    """One thread at a time: the others have refreshes to start, and leave a row."""
    if not _asking.acquire(blocking=False):
        return False
    try:
        with using(Lane.ASKED), transaction() as connection:
            waiting_request.call(connection, function, arguments)
    except OperationalError as error:
        if not is_locked(error):
            raise
        return False
    finally:
        _asking.release()
    return True


def tell_refused(function: str, error: DBAPIError) -> None:
    """Tell what the function said; the request is dropped."""
    log.warning("upkeep.request_refused", function=function, reason=str(error.orig).splitlines()[0][:TOLD])


def carry_out() -> int:
    """Carry out what nobody holds up any longer, until there is no more of it; returns how many wait on."""
    while _some_done():
        pass
    with transaction() as connection:
        return waiting_request.count(connection)


def _some_done() -> bool:
    """A transaction's worth; it ends with the first that meets a lock, lest it holds for long what others wait for."""
    with transaction() as connection:
        taken = waiting_request.take(connection, most=AT_ONCE)
        for request in taken:
            try:
                with connection.begin_nested():
                    waiting_request.call(connection, request.function, request.arguments)
            except DBAPIError as error:
                if connection.invalidated:
                    raise
                if is_locked(error):
                    waiting_request.later(connection, request)
                    break
                tell_refused(request.function, error)
            waiting_request.done(connection, request)
    return bool(taken)


class Asker:
    """The thread that carries out what waits."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="asker", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """Stop; what waits is carried out by another process."""
        self._ended.set()
        _kept.set()
        self._thread.join(10)

    def _run(self) -> None:
        with using(Lane.ASKED):
            while not self._ended.is_set():
                _kept.clear()
                waits = self._look()
                if waits:
                    lock_holders.tell()
                    self._ended.wait(SOON)
                else:
                    _kept.wait(NOW_AND_THEN)

    def _look(self) -> int:
        try:
            return carry_out()
        except Exception:
            log.exception("asker.failed")
            return 0


_asker: list[Asker] = []


def begin() -> None:
    """Let this process carry out what waits."""
    _asker[:] = [Asker()]
    _asker[0].start()


def end() -> None:
    """End the thread of this process, if it has one."""
    while _asker:
        _asker.pop().end()
