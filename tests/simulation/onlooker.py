"""An onlooker: is told of what an episode does, and changes nothing; this one sees nothing."""

from collections.abc import Sequence
from typing import Any

from tasks.journal import Entry, Position
from tasks.runtime.attempt import Arrived
from tests.simulation.network import Sent
from tests.simulation.tables import Undo


class Onlooker:
    """Told of each event at its instant, before the judge is; `worker` is the process that does it."""

    def committed(self, undo: Undo) -> None:
        """A transaction is durable; `undo` holds what it has changed, as it was."""

    def sends(self, worker: Any, sent: Sent) -> None:
        """The first byte of a request leaves."""

    def froze(self, sent: Sent) -> None:
        """Its process froze after the last guard and before that byte."""

    def journaled(self, worker: Any, entries: Sequence[Entry], positions: Sequence[Position]) -> None:
        """Answers are in the journal; of a process that is killed on the way the positions are unknown."""

    def not_journaled(self, worker: Any, entries: Sequence[Entry]) -> None:
        """The journal could not take them."""

    def marked(self, worker: Any, positions: Sequence[Position]) -> None:
        """Entries are about to be marked as settled."""

    def settled(self, worker: Any, group: Sequence[Arrived]) -> None:
        """Whatever arrived is settled, or left to the journal."""

    def killed(self, worker: Any) -> None:
        """A process is gone."""

    def rewound(self) -> None:
        """Commits are gone."""
