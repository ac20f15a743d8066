"""Introspections: how many of a client may be asked now; one whose server told nothing three times running rests.

They take slots of the client's rate, and a server that is away must not cost the refreshes half of them.
"""

import threading
from collections import Counter
from datetime import timedelta

from tasks.runtime import clock

MOST = 500  # of a client under way in this process: each holds a connection for as long as its server says nothing
IN_VAIN = 3
REST = timedelta(minutes=1)


class Introspections:
    """What is under way in this process, by client; its threads ask at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: Counter[int] = Counter()
        self._in_vain: Counter[int] = Counter()
        self._rests_until: dict[int, timedelta] = {}

    def begin(self, client_id: int, wanted: int) -> int:
        """Count up to `wanted` as under way; returns how many."""
        with self._lock:
            if self._rests(client_id):
                return 0
            room = max(min(wanted, MOST - self._under_way[client_id]), 0)
            self._under_way[client_id] += room
            return room

    def give_back(self, client_id: int, count: int) -> None:
        """Note that so many were not asked after all."""
        with self._lock:
            self._under_way[client_id] -= count

    def end(self, client_id: int, *, told: bool) -> None:
        """Note that one ended; what was on its way when the rest began makes it no longer."""
        with self._lock:
            self._under_way[client_id] -= 1
            self._in_vain[client_id] = 0 if told else self._in_vain[client_id] + 1
            if told:
                self._rests_until.pop(client_id, None)
            elif self._in_vain[client_id] >= IN_VAIN and not self._rests(client_id):
                self._rests_until[client_id] = clock.boot() + REST

    def _rests(self, client_id: int) -> bool:
        return clock.boot() < self._rests_until.get(client_id, timedelta(0))
