"""Parked: answers whose rows somebody else has locked; they alone wait, and each grant's in the order of arrival.

Not only the settling thread comes here: a revocation settles its own answers. So whoever tries an answer again takes it
for that long, and nobody else tries it nor passes it meanwhile.
"""

import threading
from collections import OrderedDict
from itertools import islice
from uuid import UUID

from tasks.runtime.attempt import Arrived


class Parked:
    """What a process has parked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: OrderedDict[UUID, list[Arrived]] = OrderedDict()
        self._taken: set[UUID] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, grant_id: UUID) -> bool:
        return grant_id in self._waiting

    def add(self, arrived: Arrived) -> None:
        """Park an answer behind those of its grant that wait already."""
        with self._lock:
            self._waiting.setdefault(_grant_of(arrived), []).append(arrived)

    def add_behind(self, arrived: Arrived) -> bool:
        """Park an answer where others of its grant wait; False: none does, it may be settled at once."""
        with self._lock:
            waiting = self._waiting.get(_grant_of(arrived))
            if waiting is not None:
                waiting.append(arrived)
            return waiting is not None

    def take(self, most: int) -> list[Arrived]:
        """The answers that wait for longest, one a grant: of those tried the longest ago, and by nobody now.

        Whoever takes them says afterwards of each that it is `done`, or is to be tried `later`.
        """
        with self._lock:
            free = list(islice((grant_id for grant_id in self._waiting if grant_id not in self._taken), most))
            self._taken.update(free)
            return [self._waiting[grant_id][0] for grant_id in free]

    def later(self, arrived: Arrived) -> None:
        """Leave the grant of a taken answer for after all others."""
        with self._lock:
            self._taken.discard(_grant_of(arrived))
            self._waiting.move_to_end(_grant_of(arrived))

    def done(self, arrived: Arrived) -> None:
        """Forget a taken answer."""
        grant_id = _grant_of(arrived)
        with self._lock:
            self._taken.discard(grant_id)
            del self._waiting[grant_id][0]
            if not self._waiting[grant_id]:
                del self._waiting[grant_id]


def _grant_of(arrived: Arrived) -> UUID:
    return arrived.attempt.job.grant_id
