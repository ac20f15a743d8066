"""A process's runtime: what it has open while it works: its keys, its journal, its loop thread.

Who may begin in it is asked of its `admission`, and how an attempt ended is handed to its `answers`.
"""

import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import Self
from uuid import UUID

import structlog

import settings as configuration
from models import journal as register
from models.database import transaction
from models.sealing.vault import Vault
from tasks.journal import Journal, journal_ids
from tasks.oauth.transport import Transport
from tasks.runtime import clock
from tasks.runtime.admission import Admission
from tasks.runtime.answers import Answers
from tasks.runtime.attempt import Arrived
from tasks.runtime.confirmations import Confirmations
from tasks.runtime.exchanges import Exchanges
from tasks.runtime.introspections import Introspections
from tasks.runtime.registration import Registrations
from tasks.runtime.threads import told
from tasks.runtime.unfinished import Unfinished

log = structlog.get_logger()

WHOLE_DEADLINE = timedelta(seconds=60)  # of a shutdown: longer than any attempt

Work = Callable[["Runtime", list[Arrived]], None]
"""What is done with a group of answers."""


class Runtime:
    """Everything that a process needs to carry out jobs."""

    def __init__(self, settings: configuration.Settings, journal: Journal, vault: Vault) -> None:
        self.settings = settings
        self.vault = vault
        self.journal = journal
        self.registrations = Registrations(vault, settings)
        self.transport = Transport(wall=clock.wall)
        self.stopping = threading.Event()
        self.giving_up = threading.Event()
        self.admission = Admission(journal, self.stopping, in_flight=settings.in_flight)
        self.answers = Answers(self.admission)
        self.introspections = Introspections()
        self.confirmations = Confirmations()
        self.damaged_journals: dict[int, str] = {}  # those on this disk that this process could not read, and why
        self.tick: UUID | None = None  # the newest that this process has seen in the database
        # Whether the last look found a database that may be worked with (tasks/settling/recover.py). One that was unfit
        # may be adopted at any moment: until this process has looked again it starts nothing.
        self.fit = True
        self.unfinished = Unfinished(self.stopping)
        self.exchanges = Exchanges(self.stopping, threads=settings.concurrency)
        self._afterwards = ThreadPoolExecutor(max_workers=2, thread_name_prefix="afterwards")
        self._revoking = ThreadPoolExecutor(max_workers=settings.concurrency, thread_name_prefix="revocation")

    @classmethod
    def open(cls, settings: configuration.Settings) -> Self:
        """Register a journal and hold it.

        Raises:
            KeysError: a key ring cannot be used.
            OperationalError: the database is away.
            JournalBroken: the home cannot be written.

        """
        vault = Vault.from_settings(settings)
        folder = settings.home / "journals"
        with ExitStack() as undo:
            # Held before its number is committed: one that a kill left without a folder would be waited for after a
            # restore, and nobody could ever drain it.
            with transaction() as connection:
                journal_id = register.register(
                    connection,
                    host=socket.gethostname(),
                    process=str(os.getpid()),
                    above=max(journal_ids(folder), default=0),
                )
                journal = Journal.open(folder, journal_id, vault=vault)
                undo.callback(journal.close, drained=True)
            undo.pop_all()
        return cls(settings, journal, vault)

    @property
    def journal_id(self) -> int:
        """The number of this process's journal."""
        return self.journal.journal_id

    def handle_answers(self, *, journal: Work, settle: Work) -> None:
        """Journal what arrives from now on, and settle it, each in a thread."""
        self.answers.start(journal=partial(journal, self), settle=partial(settle, self))

    def later(self, work: Callable[[], object]) -> None:
        """Do something of no haste beside the settling thread, if the process is not stopping."""
        if not self.stopping.is_set():
            self._afterwards.submit(told(work))

    def revoke(self, work: Callable[[], object]) -> None:
        """Carry out a revocation in a thread of its own: whatever it waits for, Celery's threads are for refreshes.

        What has not begun when the process ends is claimed again when its lease is over.
        """
        if not self.stopping.is_set():
            self._revoking.submit(told(work))

    # The end

    def stop(self) -> None:
        """Begin nothing any more; what is under way goes on."""
        self.stopping.set()

    def close(self) -> None:
        """Wait for what is under way, settle it, and let the journal go."""
        self.stop()
        if not self.admission.wait_until_quiet(WHOLE_DEADLINE):
            log.warning("worker.left_under_way", count=self.admission.under_way)
            self.giving_up.set()
        # Whoever waits for a database that is away gives up then: what they brought is in the journal.
        late = threading.Timer(WHOLE_DEADLINE.total_seconds(), self.giving_up.set)
        late.start()
        self.exchanges.close(WHOLE_DEADLINE)
        for threads in (self._revoking, self._afterwards):
            threads.shutdown(wait=True, cancel_futures=True)
        late.cancel()
        self.unfinished.close()
        self.transport.close()
        self.answers.close()
        self._leave_journal()

    def _leave_journal(self) -> None:
        if self.journal.close(drained=True):
            try:
                with transaction() as connection:
                    register.drained(connection, self.journal_id)
            except Exception:
                log.exception("journal.drained_not_recorded", journal_id=self.journal_id)


class NotStarted(Exception):
    """This process has started no runtime, or was forked from one that has; call `runtime.start` where it begins."""

    def __str__(self) -> str:
        return str(self.__doc__)


class AlreadyStarted(Exception):
    """This process has a runtime already; call `runtime.close` before it starts another."""

    def __str__(self) -> str:
        return str(self.__doc__)


# With the process that started it: a fork inherits the variable, and neither the threads nor the journal's lock.
_started: tuple[int, Runtime] | None = None


def start(settings: configuration.Settings, *, journal: Work, settle: Work) -> Runtime:
    """Open the runtime of this process, for `current` to find: where the process begins, after any fork.

    `journal` puts a group of answers on the disk, `settle` writes a journaled one to the database.

    Raises:
        AlreadyStarted: it has one.
        KeysError, OperationalError, JournalBroken: see `Runtime.open`.

    """
    global _started  # noqa: PLW0603  # one runtime a process is the point
    if _own() is not None:
        raise AlreadyStarted
    opened = Runtime.open(settings)
    opened.handle_answers(journal=journal, settle=settle)
    _started = (os.getpid(), opened)
    return opened


def current() -> Runtime:
    """The runtime that this process has started.

    Raises:
        NotStarted: it has started none.

    """
    if (own := _own()) is None:
        raise NotStarted
    return own


def stop() -> None:
    """Begin nothing any more in this process, if it has a runtime."""
    if (own := _own()) is not None:
        own.stop()


def close() -> None:
    """Close the runtime of this process, if it has one."""
    global _started  # noqa: PLW0603
    if (own := _own()) is not None:
        own.close()
        _started = None


def _own() -> Runtime | None:
    return _started[1] if _started is not None and _started[0] == os.getpid() else None
