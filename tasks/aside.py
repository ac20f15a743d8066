"""Aside: answers whose rows somebody else has locked; they alone wait, and each grant's in the order of arrival."""

from collections import OrderedDict
from uuid import UUID

from tasks.attempt import Arrived
from tasks.journal import Position

Waiting = tuple[Arrived, Position | None]


class Aside:
    """What the settling thread has put aside; nobody else touches it."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[UUID, list[Waiting]] = OrderedDict()

    def __contains__(self, grant_id: UUID) -> bool:
        return grant_id in self._waiting

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, arrived: Arrived, position: Position | None) -> None:
        """Put an answer aside, behind those of its grant that wait already."""
        self._waiting.setdefault(arrived.attempt.job.grant_id, []).append((arrived, position))

    def first(self) -> Waiting:
        """The answer that waits for longest, of the grant that was tried the longest ago."""
        return next(iter(self._waiting.values()))[0]

    def later(self) -> None:
        """Leave that grant for after all others."""
        self._waiting.move_to_end(next(iter(self._waiting)))

    def done(self) -> None:
        """Forget that answer."""
        grant_id, waiting = next(iter(self._waiting.items()))
        del waiting[0]
        if not waiting:
            del self._waiting[grant_id]
