"""Connections of one listener: how many there may be, and which of them goes where one is too many.

Whoever has shown a key is known; all others are strangers. A stranger costs memory and a file, so there are fewer of
them than files, and where one is too many a stranger goes: the oldest one of an address that has more than its share,
else the oldest of all. Whoever holds a key shows it within milliseconds and is never the oldest. Of the known ones it
is an application with the most that gives one up.
"""

import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Final

MOST: Final = 20_000  # about 10 KiB of memory each
RESERVED_FILES: Final = 128  # at least: the database, the operators' listener, the log, the next connection
HEAD: Final = timedelta(seconds=10)

TOO_MANY, SLOW_HEAD, LARGE_HEAD = "too_many", "slow_head", "large_head"
CAUSES: Final = (TOO_MANY, SLOW_HEAD, LARGE_HEAD)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many connections there may be, and how long a stranger may take.

    `head`: until a head is whole; `idle`: a stranger's silence after an answer; `whole`: one request of a stranger.
    """

    in_all: int
    strangers: int
    head: timedelta = HEAD
    idle: timedelta = HEAD
    whole: timedelta = 3 * HEAD

    @classmethod
    def of_open_files(cls, files: int) -> "Limits":
        """What fits a process that may have so many files open: a quarter of them stays for all else."""
        in_all = max(16, min(MOST, files - max(RESERVED_FILES, files // 4)))
        return cls(in_all, in_all // 2)


@dataclass(eq=False, slots=True)
class Connection:
    """One connection, from the moment it is accepted; `cut` ends it at once, `is_idle`: no request is under way."""

    peer: Hashable
    cut: Callable[[], object]
    is_idle: Callable[[], bool] = field(default=lambda: True)
    since: float = 0.0  # accepted, or the last whole head
    has_asked: bool = False
    holder: int | None = None  # the application whose key came on it


class Connections:
    """Counts them; every method is called on the listener's loop."""

    def __init__(self, limits: Limits, *, now: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self.closed_for: Counter[str] = Counter(dict.fromkeys(CAUSES, 0))
        self._now = now
        self._strangers: dict[Connection, None] = {}  # in the order of their last head
        self._strangers_of: dict[Hashable, dict[Connection, None]] = {}
        self._known: dict[int, dict[Connection, None]] = {}
        self._known_count = 0
        self._heads: dict[Connection, float] = {}  # of known ones: since when a head has begun

    @property
    def strangers(self) -> int:
        """How many have shown no key."""
        return len(self._strangers)

    @property
    def known(self) -> int:
        """How many have shown one."""
        return self._known_count

    def opened(self, connection: Connection) -> bool:
        """Count one that was accepted; whether it may stay."""
        connection.since = self._now()
        self._strangers[connection] = None
        self._strangers_of.setdefault(connection.peer, {})[connection] = None
        if self.strangers > self.limits.strangers or self.strangers + self.known > self.limits.in_all:
            self.end(self._stranger_to_end(connection), TOO_MANY)
        return connection in self._strangers

    def closed(self, connection: Connection) -> None:
        """Count it no longer."""
        self._heads.pop(connection, None)
        if connection.holder is None:
            self._forget_stranger(connection)
        elif self._known.get(connection.holder, {}).pop(connection, self) is None:
            self._known_count -= 1
            if not self._known[connection.holder]:
                del self._known[connection.holder]

    def end(self, connection: Connection, cause: str) -> None:
        """Cut one off."""
        self.closed_for[cause] += 1
        self.closed(connection)
        connection.cut()

    def head_began(self, connection: Connection) -> None:
        """A part of a head came."""
        if connection.holder is not None:
            self._heads.setdefault(connection, self._now())

    def head_came(self, connection: Connection) -> None:
        """A head is whole."""
        if connection.holder is not None:
            self._heads.pop(connection, None)
        elif connection in self._strangers:
            connection.since, connection.has_asked = self._now(), True
            del self._strangers[connection]
            self._strangers[connection] = None

    def proved(self, connection: Connection, holder: int) -> None:
        """An application's key came on it."""
        if connection.holder is not None or connection not in self._strangers:
            return
        self._forget_stranger(connection)
        connection.holder = holder
        self._known.setdefault(holder, {})[connection] = None
        self._known_count += 1
        if self.known > self.limits.in_all - self.limits.strangers // 2:
            self.end(self._known_to_end(), TOO_MANY)

    def end_slow(self, at_most: int) -> bool:
        """Cut off whoever takes too long; call it often. Returns whether there may be more of them."""
        late = list(islice(self._late(self._now()), at_most))
        for connection in late:
            self.end(connection, SLOW_HEAD)
        return len(late) == at_most

    def _late(self, now: float) -> Iterator[Connection]:
        head = self.limits.head.total_seconds()
        yield from (each for each, began in self._heads.items() if now - began >= head)
        yield from (each for each in self._strangers if now - each.since >= self._allowed(each).total_seconds())

    def _allowed(self, stranger: Connection) -> timedelta:
        if not stranger.is_idle():
            return self.limits.whole
        return self.limits.idle if stranger.has_asked else self.limits.head

    def _stranger_to_end(self, newest: Connection) -> Connection:
        theirs = self._strangers_of[newest.peer]
        share = max(1, self.limits.strangers // len(self._strangers_of))
        return _first(theirs if len(theirs) > share else self._strangers)

    def _known_to_end(self) -> Connection:
        theirs = max(self._known.values(), key=len)
        return next((each for each in theirs if each.is_idle()), _last(theirs))

    def _forget_stranger(self, connection: Connection) -> None:
        if self._strangers.pop(connection, self) is None:
            theirs = self._strangers_of[connection.peer]
            del theirs[connection]
            if not theirs:
                del self._strangers_of[connection.peer]


def _first(connections: dict[Connection, None]) -> Connection:
    return next(iter(connections))


def _last(connections: dict[Connection, None]) -> Connection:
    newest: Iterator[Connection] = reversed(connections)
    return next(newest)
