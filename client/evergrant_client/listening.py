"""Listening for stored token sets: one connection a process, only while somebody waits.

It makes waiting shorter and nothing else: whoever waits polls as well, so a pooler in transaction mode, which has no
LISTEN, costs a second.
"""

import threading
from collections.abc import Callable
from typing import Any

import psycopg

IDLE_SECONDS = 20.0
LOOK_SECONDS = 0.5
RECONNECT_SECONDS = 2.0


class Listener:
    """Wakes those who wait for a grant when its token set was stored."""

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]]) -> None:
        self._connect = connect
        self._guard = threading.Lock()
        self._waiting: dict[str, set[threading.Event]] = {}
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def wait(self, grant_id: str, seconds: float) -> None:
        """Return when a token set of this grant was stored, or after `seconds`."""
        heard = threading.Event()
        with self._guard:
            self._waiting.setdefault(grant_id, set()).add(heard)
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="evergrant-listener", daemon=True)
                self._thread.start()
        heard.wait(seconds)
        with self._guard:
            others = self._waiting.get(grant_id, set())
            others.discard(heard)
            if not others:
                self._waiting.pop(grant_id, None)

    def close(self) -> None:
        """End the thread; it may take a second."""
        self._closed.set()
        with self._guard:
            thread = self._thread
        if thread is not None:
            thread.join(RECONNECT_SECONDS)

    def _run(self) -> None:
        while not self._done():
            try:
                with self._connect() as connection:
                    connection.execute("listen evergrant_token_set")
                    self._hear(connection)
            except psycopg.Error:
                self._closed.wait(RECONNECT_SECONDS)

    def _hear(self, connection: psycopg.Connection[Any]) -> None:
        quiet = 0.0
        while not self._closed.is_set() and quiet < IDLE_SECONDS:
            for notice in connection.notifies(timeout=LOOK_SECONDS, stop_after=1):
                self._wake(notice.payload)
            with self._guard:
                quiet = 0.0 if self._waiting else quiet + LOOK_SECONDS

    def _wake(self, grant_id: str) -> None:
        with self._guard:
            for heard in self._waiting.get(grant_id, ()):
                heard.set()

    def _done(self) -> bool:
        """Whether nobody waits; then the next who does starts a thread anew."""
        with self._guard:
            done = self._closed.is_set() or not self._waiting
            if done:
                self._thread = None
            return done
