"""What the judge knows of grants that are refused in a dialect: how often they are asked, and whom they stop.

Taken from commits, with the judge's own arithmetic: when each refusal of a dead grant was written, and when a request
that was begun since has refreshed another grant of the client, which is then a witness that it is refused alone.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from simulator.ledger import Grant as LedgerGrant
from tests.simulation.statements.attempts import untried
from tests.simulation.tables import Row, Tables
from tests.simulation.world import EPOCH

OFTEN_ENOUGH = 3  # refusals, after which asking again soon teaches nothing
LONG_ENOUGH = timedelta(minutes=10)  # between the first and the last of them
HOUR = timedelta(hours=1)


class Refused:
    """Invariants 12 and 17, as far as those are concerned who died."""

    def __init__(
        self,
        tables: Tables,
        consents: Mapping[UUID, LedgerGrant],
        fail: Callable[[str, str, str], None],
        *,
        word: str | None,
    ) -> None:
        self._tables = tables
        self._consents = consents
        self._fail = fail
        self._word = word
        self._runs: dict[UUID, list[datetime]] = {}
        self._refreshed: dict[int, list[tuple[datetime, datetime]]] = {}  # by client: begun, stored

    def forget(self, grant_id: UUID) -> None:
        """An operator had it asked again, or it succeeded."""
        self._runs.pop(grant_id, None)

    def rewound(self) -> None:
        """Commits are gone."""
        self._runs.clear()
        self._refreshed.clear()

    def refreshed(self, row: Row) -> None:
        """A grant was refreshed by the process that asked."""
        self.forget(row["id"])
        kept = self._refreshed.setdefault(row["client_id"], [])
        kept.append((row["refreshed_at"], self._tables.now))
        del kept[:-500]

    def ended(self, row: Row) -> None:
        """An attempt brought no token set."""
        dead = not self._consents[row["id"]].alive((self._tables.now - EPOCH).total_seconds())
        in_a_dialect = self._word is not None and row["last_error_code"] == self._word
        if dead and in_a_dialect and row["status"] == "active":
            self._runs.setdefault(row["id"], []).append(self._tables.now)
        elif row["refused_code"] != self._word:
            self.forget(row["id"])  # in another word, of a fault: what was refused before may have had another cause

    def begun(self, row: Row) -> None:
        """An attempt was begun."""
        run = self._runs.get(row["id"], [])
        if len(run) < OFTEN_ENOUGH or run[-1] - run[0] < LONG_ENOUGH or row["status"] != "active":
            return
        if not self._is_alone(row, run[0], run[-1]) or untried(self._tables, row):
            return  # where a former token may be what lives, each has one attempt
        if self._tables.now - run[-1] < HOUR:
            waited = (self._tables.now - run[-1]).total_seconds()
            self._fail("12", f"refused alone {len(run)} times, it is asked again after {waited:.0f} s", row["ref"])

    def _is_alone(self, row: Row, first: datetime, last: datetime) -> bool:
        """Whether a request begun after its first refusal had refreshed another grant before its last one."""
        known = self._refreshed.get(row["client_id"], ())
        return any(begun > first and stored < last for begun, stored in known)

    def valve_changed(self, before: Row, after: Row) -> None:
        """A valve was written: none shuts for grants of which it is known that they are refused alone."""
        if before["paused_until"] is not None or after["paused_until"] is None:
            return
        if after["pause_reason"] != self._word:
            return
        for grant_id in self._tables.witnesses[after["client_id"]]["refused_grant_ids"]:
            row = self._tables.grants.get(grant_id)
            if row is not None and self._was_alone_before(row):
                self._fail("17", "it has shut its client's valve, though it is refused alone", row["ref"])

    def _was_alone_before(self, row: Row) -> bool:
        """Whether it was known, when its last refusal was told, that others succeed."""
        if row["status"] == "revoking":
            since = self._tables.revocations[row["id"]]["failing_since"]
            return since is not None and self._is_alone(row, since, self._tables.now)
        run = self._runs.get(row["id"], [])
        return len(run) > 1 and self._is_alone(row, run[0], run[-1])

    def declared(self, row: Row) -> None:
        """A grant was declared dead: nobody may be whose death was told in words that nobody understands."""
        if self._word is not None:
            self._fail("4", f"declared dead, though the provider says {self._word}", row["ref"])

    def letter_written(self, letter: Row) -> None:
        """A human is told."""
        alive = self._consents[letter["grant_id"]].alive((self._tables.now - EPOCH).total_seconds())
        if letter["cause"] == "refused" and alive:
            self._fail("17", "a living grant was told as refused", letter["ref"])
