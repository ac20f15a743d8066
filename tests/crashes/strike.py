"""Strikes: what an armed process does to itself when it comes to its fail-point. Only the crash loop imports this."""

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import Pool, event

from tests.crashes.points import Act
from tests.crashes.trace import Trace


@dataclass(frozen=True)
class Arm:
    """Where this process is struck, the how manieth time it comes there, and by what."""

    point: str
    act: Act
    nth: int = 1


class Striker:
    """Waits for the fail-point of this process; without an arm it never strikes."""

    def __init__(self, trace: Trace, arm: Arm | None, *, database_url: str) -> None:
        self.trace = trace
        self._arm = arm
        self._url = database_url
        self._left = arm.nth if arm else 0
        self._lock = threading.Lock()
        self._backends: set[int] = set()
        event.listen(Pool, "connect", self._note_backend)

    def wants(self, point: str) -> bool:
        """Whether this process is armed for a point and was not struck yet."""
        return self._arm is not None and self._arm.point == point and self._left > 0

    def hit(self, point: str, **means: Callable[[], None]) -> None:
        """Come to a fail-point; `means`: how an act is done here, where that is not the usual way."""
        act = self._due(point)
        if act is None:
            return
        self.trace.say("strike", point=point, act=act)
        means.get(act, {Act.KILL: kill, Act.FREEZE: self._freeze, Act.DATABASE: self.cut_database}.get(act, _nothing))()
        # Only who was not killed comes here.
        self.trace.say("struck", point=point, act=act)

    def _due(self, point: str) -> Act | None:
        with self._lock:
            if self._arm is None or self._arm.point != point or self._left == 0:
                return None
            self._left -= 1
            return None if self._left else self._arm.act

    def _freeze(self) -> None:
        freeze()

    def cut_database(self) -> None:
        """End every database connection of this process, from the server's side, and see that they are gone."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("select pg_terminate_backend(pid, 5000) from unnest(%s::int[]) as pid", [self._mine()])

    def _mine(self) -> list[int]:
        with self._lock:
            return sorted(self._backends)

    def _note_backend(self, connection: Any, _: object) -> None:
        with self._lock:
            self._backends.add(connection.info.backend_pid)


def kill() -> None:
    """Kill -9; sent to this very thread, so not one instruction more is carried out in it."""
    signal.pthread_kill(threading.get_ident(), signal.SIGKILL)


def freeze() -> None:
    """Stop all threads of this process until somebody sends SIGCONT."""
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def _nothing() -> None:
    pass
