"""News of stored token sets: one connection listens for all who wait, and wakes those whose grant it was.

Quicker than looking again, and no more than that: whoever waits looks again by themselves. A pooler in transaction
mode delivers nothing, and a database that is away says nothing.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
import structlog
from sqlalchemy.exc import SQLAlchemyError

from models.database import engine

log = structlog.get_logger()

CHANNEL = "evergrant_token_set"
LOOK_SECONDS = 1.0  # how soon the thread notices that it should end
AGAIN_SECONDS = 2.0


class News:
    """Events by grant id, set when its token set was stored; make it in the loop that waits."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._ended = threading.Event()
        self._listens = False
        self._thread = threading.Thread(target=self._listen, name="news", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def end(self) -> None:
        """Listen no longer, and wake everybody: there will be no more news."""
        self._ended.set()
        for grant_id in list(self._waiting):
            self._tell(grant_id)

    @property
    def ended(self) -> bool:
        """Whether there will be no more news."""
        return self._ended.is_set()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(len(events) for events in list(self._waiting.values()))  # asked by another thread

    @contextmanager
    def of(self, grant_id: object) -> Iterator[asyncio.Event]:
        """An event that is set with each token set of this grant; whoever waits clears it."""
        event, name = asyncio.Event(), str(grant_id)
        self._waiting.setdefault(name, set()).add(event)
        try:
            yield event
        finally:
            self._waiting[name].discard(event)
            if not self._waiting[name]:
                del self._waiting[name]

    def _tell(self, grant_id: str) -> None:
        for event in self._waiting.get(grant_id, ()):
            event.set()

    # In the thread

    def _listen(self) -> None:
        while not self._ended.is_set():
            try:
                self._listen_until_it_breaks()
            except (psycopg.Error, SQLAlchemyError) as error:
                self._note(listens=False, error=type(error).__name__)
            except Exception:
                log.exception("web.not_listening", again_in_s=AGAIN_SECONDS)
            self._ended.wait(AGAIN_SECONDS)

    def _note(self, *, listens: bool, **facts: str) -> None:
        """Log a change only: an outage is told once."""
        if listens != self._listens:
            log.info("web.listens_for_news" if listens else "web.does_not_listen", **facts)
        self._listens = listens

    def _listen_until_it_breaks(self) -> None:
        with engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)  # noqa: S101  # for the type checker
            connection.detach()  # one that listens is never given back to the pool
            connection.exec_driver_sql(f"listen {CHANNEL}")
            self._note(listens=True)
            while not self._ended.is_set():
                for notify in driver.notifies(timeout=LOOK_SECONDS):
                    with suppress(RuntimeError):  # the loop has closed in this moment
                        self._loop.call_soon_threadsafe(self._tell, notify.payload)
