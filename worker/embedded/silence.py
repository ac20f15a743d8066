"""Who of what `evergrant up` has started lives and hangs: the database hears no more of it, and does of others.

It may be that only its word is held up, by whoever has locked its row: so it is asked to end before it is killed, and
the answers that are on their way to it are not lost.
"""

import socket
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Final, Self

import structlog

from models import database
from models.views import fleet
from worker.embedded.process import Process

LOOK_SECONDS: Final = 5.0
LOOKS_THAT_FOLLOW: Final = 3
"""Of looks further apart than so many the later one is a first one: the machine slept, or we did."""

REASON: Final = (
    "it lives, and the database hears of others and not of it: it is ended, by force if need be, and started again"
)

Heard = Mapping[int, datetime]

log = structlog.get_logger()


class Hearing:
    """What looks have heard, one after the other; it reads no clock and asks nobody.

    How old a word is tells nothing: after a sleep, or an hour in which the database took none, the words of all are
    old. What counts is that looks went on, others spoke, and one did not.
    """

    def __init__(self, look_seconds: float) -> None:
        self._apart = look_seconds * LOOKS_THAT_FOLLOW
        self._looked_at: float | None = None
        self._known: Heard | None = None
        self._spoke: set[int] = set()
        self._since: dict[int, float] = {}

    def forget(self) -> None:
        """Begin to count anew."""
        self._since = {}

    def take(self, heard: Heard, at: float) -> dict[int, float]:
        """One look at `at` (monotonic seconds): when each pid was last heard of. Returns how long each is silent.

        Who has not spoken since the first look is left out: it starts, and the word is that of a former bearer.
        """
        if self._looked_at is not None and at - self._looked_at > self._apart:
            self.forget()
        self._looked_at = at
        speaks = {pid for pid, word in heard.items() if self._known is None or self._known.get(pid) != word}
        if self._known is not None:
            self._spoke = (self._spoke | speaks) & set(heard)
        self._known = heard
        self._since = {pid: at if pid in speaks else self._since.get(pid, at) for pid in heard}
        if all(at - since > self._apart for since in self._since.values()):
            self.forget()  # it may be the database that takes no word
        return {pid: at - since for pid, since in self._since.items() if pid in self._spoke}


class Silence:
    """While it is entered, looks for children that hang; they are ended at a look of whoever starts them again.

    One that has not been heard of since its start is never taken for one that hangs. It looks on a thread of its own,
    see readiness.py.
    """

    def __init__(self, processes: Sequence[Process], *, look_seconds: float = LOOK_SECONDS) -> None:
        self._processes = processes
        self._pause = look_seconds
        self._hearing = Hearing(look_seconds)
        self._hanging: dict[int, float] = {}  # replaced as a whole by the thread
        self._kill_at: dict[int, float] = {}  # who was asked to end (monotonic)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_looking, name="silence", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()  # not waited for: it may hang

    def look(self) -> None:
        """End who hangs, by force once its grace is over; whatever the database does, it is not waited for."""
        hanging, now = self._hanging, time.monotonic()
        self._kill_at = {pid: at for pid, at in self._kill_at.items() if pid in hanging}
        for process in self._processes:
            pid = process.pid
            if pid is None or pid not in hanging:
                continue
            if pid not in self._kill_at:
                self._kill_at[pid] = now + process.program.grace_seconds
                log.error("hangs", name=process.name, pid=pid, silent_s=round(hanging[pid]), reason=REASON)
                process.ask_to_stop()
            elif now >= self._kill_at[pid]:
                process.kill()

    def _keep_looking(self) -> None:
        failed = False
        while not self._ended.wait(self._pause):
            try:
                self._hanging = self._looked()
                failed = False
            except Exception:
                self._hanging = {}
                self._hearing.forget()
                if not failed and not self._ended.is_set():
                    log.exception("silence.look_failed", reason="Whether one hangs could not be read; none is killed")
                failed = True

    def _looked(self) -> dict[int, float]:
        patience = {each.pid: each.program.silence_seconds for each in self._processes}
        silent = self._hearing.take(_heard(), time.monotonic())
        return {pid: seconds for pid, seconds in silent.items() if pid in patience and seconds >= patience[pid]}


def _heard() -> dict[int, datetime]:
    """When each pid of this machine was last heard of.

    Whoever supervises comes in as the superuser, and does not stay.
    """
    with database.passing_transaction() as connection:
        rows = fleet.processes(connection)
    host = socket.gethostname()
    seen: dict[int, datetime] = {}
    for row in rows:
        if row["host"] == host:
            seen[row["pid"]] = max(row["seen_at"], seen.get(row["pid"], row["seen_at"]))
    return seen
