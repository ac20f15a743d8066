"""`evergrant status --watch`: looks again and again, hears of renewals as they come, and draws both."""

import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from types import FrameType
from typing import Any, Final, NoReturn
from uuid import UUID

import psycopg
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError

from models import database
from models.views import events, fleet, listing
from worker.cli import session
from worker.cli.events import record_of
from worker.cli.failures import ExitCode
from worker.cli.translations import translate

CHANNEL: Final = "evergrant_token_set"
STEP_SECONDS: Final = 0.25
"""How soon a renewal is shown, and how soon another size of the terminal."""
MOST_SHOWN: Final = 100

Found = Mapping[str, Any]


@dataclass
class Renewals:
    """Token sets as they are stored: the last ones, and how many there were since the watch began."""

    since: datetime | None = None
    count: int = 0
    last: deque[Found] = field(default_factory=lambda: deque(maxlen=MOST_SHOWN))
    _listener: "psycopg.Connection[Any] | None" = None

    def hear(self, seconds: float) -> bool:
        """Wait for news, for so long at most; returns whether any came.

        It is no more than a convenience: a pooler in transaction mode delivers nothing, and while the database is away
        there is nothing to be told.
        """
        try:
            ids = self._heard(seconds)
            self.count += len(ids)
            if ids:
                self._read(list(dict.fromkeys(ids))[-MOST_SHOWN:])
        except (psycopg.Error, SQLAlchemyError):
            self.close()
            time.sleep(seconds)
            return False
        return bool(ids)

    def close(self) -> None:
        """Listen no longer."""
        if self._listener is not None:
            self._listener.close()
        self._listener = None

    def _heard(self, seconds: float) -> list[UUID]:
        if self._listener is None:
            self._listener = self._listen()
        return [UUID(notice.payload) for notice in self._listener.notifies(timeout=seconds, stop_after=1)]

    def _listen(self) -> "psycopg.Connection[Any]":
        """Open a connection apart from the pool, which may have no more than one."""
        borrowed = database.engine().connect().execution_options(isolation_level="AUTOCOMMIT")
        made = borrowed.connection.driver_connection
        assert isinstance(made, psycopg.Connection)  # noqa: S101  # for the type checker
        borrowed.detach()  # it is never given back
        try:
            borrowed.exec_driver_sql(f"listen {CHANNEL}")
            if self.since is None:
                self.since = fleet.clock(borrowed)["at"]
        except (psycopg.Error, SQLAlchemyError):
            made.close()
            raise
        return made

    def _read(self, ids: list[UUID]) -> None:
        with session.reading() as connection:
            self.last.extend(dict(row) for row in listing.renewed(connection, ids))


@dataclass(frozen=True)
class Watched:
    """What one look has found."""

    fleet: Found
    events: Sequence[Found]


def watch(read: Callable[[], Found], draw: Callable[[Watched, Renewals], RenderableType], *, pause: float) -> None:
    """Show it on the whole screen until Ctrl-C, which is the usual way to end it; the terminal is left as it was."""
    session.prepared()  # where the database is, before anybody listens there
    console, renewals = Console(highlight=False), Renewals()
    with suppress(KeyboardInterrupt), _ended_by_signals():
        try:
            renewals.hear(0)  # what is stored from the first look on is heard of
            with Live(console=console, screen=True, auto_refresh=False) as screen:
                while True:
                    seen = _looked(read)
                    shown = seen if isinstance(seen, Text) else draw(seen, renewals)
                    _show_for(pause, shown, screen, renewals)
        finally:
            renewals.close()


def _show_for(seconds: float, shown: RenderableType, screen: Live, renewals: Renewals) -> None:
    """Draw, and again whenever a renewal has come or the terminal has another size, for so long."""
    end, size, came = time.monotonic() + seconds, None, True
    while (left := end - time.monotonic()) > 0 or size is None:
        if came or screen.console.size != size:
            size = screen.console.size
            screen.update(shown, refresh=True)
        came = renewals.hear(max(min(STEP_SECONDS, left), 0))


def _looked(read: Callable[[], Found]) -> Watched | Text:
    """All; or, while the database is away, that it is: whoever watches an outage wants to see its end."""
    try:
        found = read()
        with session.reading() as connection:
            told = [record_of(row) for row in events.events(connection, most=MOST_SHOWN, newest=True)]
        return Watched(found, told)
    except Exception as error:
        failure = translate(error)
        if failure.exit_code is not ExitCode.TRY_AGAIN:
            raise
        return Text(failure.sentence(), style="red")


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let also those who end us otherwise than by Ctrl-C leave the terminal as it was."""
    before = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    del frame
    raise SystemExit(128 + number)
