"""Confirmations: a client's address that told nothing three times running rests, longer each time, and is told of.

They take slots of the client's rate, and are no refresh: what is left out is made up for by the next that is answered.
"""

import threading
from collections import Counter
from datetime import timedelta
from enum import Enum
from typing import Final

from tasks.runtime import clock

IN_VAIN: Final = 3
FIRST_REST: Final = timedelta(minutes=1)
LONGEST_REST: Final = timedelta(hours=1)
TELL_AGAIN: Final = timedelta(minutes=10)  # another process, which is gone by now, may have told that it fails

Place = tuple[int, str]
"""A client, and the address that its access tokens are presented at: another address begins anew."""


class News(Enum):
    """What one confirmation says of the address."""

    NONE = "none"
    FAILS = "fails"  # it told nothing three times running, and rests
    ANSWERS = "answers"  # it told something, for the first time in this process, since it had failed, or for a while


class Confirmations:
    """What became of the last ones of this process; its threads ask at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_vain: Counter[Place] = Counter()
        self._answers: dict[Place, timedelta] = {}  # since when, or when that was told last
        self._rests_until: dict[Place, timedelta] = {}

    def rests(self, place: Place) -> bool:
        """Whether nothing is presented there for now."""
        with self._lock:
            return clock.boot() < self._rests_until.get(place, timedelta(0))

    def end(self, place: Place, *, told: bool) -> News:
        """Note how one ended."""
        with self._lock:
            return self._told(place) if told else self._told_nothing(place)

    def _told(self, place: Place) -> News:
        del self._in_vain[place]
        self._rests_until.pop(place, None)
        now, told_at = clock.boot(), self._answers.get(place)
        if told_at is not None and now - told_at < TELL_AGAIN:
            return News.NONE
        self._answers[place] = now
        return News.ANSWERS

    def _told_nothing(self, place: Place) -> News:
        self._in_vain[place] += 1
        more = self._in_vain[place] - IN_VAIN
        if more < 0:
            return News.NONE
        self._answers.pop(place, None)
        doubled = FIRST_REST * 2 ** min(more, 10)
        self._rests_until[place] = clock.boot() + min(doubled, LONGEST_REST)
        return News.FAILS
