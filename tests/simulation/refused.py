"""What the judge knows of grants that are refused in a dialect: how often they are asked, and whom they stop.

Taken from commits, with the judge's own arithmetic: when each refusal of a dead grant was written, and when a request
that was begun since has refreshed another grant of the client, which is then a witness that it is refused alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from simulator.ledger import Grant as LedgerGrant
from tests.simulation.statements.attempts import untried
from tests.simulation.tables import Row, Tables
from tests.simulation.world import EPOCH

OFTEN_ENOUGH = 3  # refusals, after which asking again soon teaches nothing
LONG_ENOUGH = timedelta(minutes=10)  # between the first and the last of them
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
ALIKE = 3  # different grants refused alike with no success: it is ours
ROUNDING = timedelta(seconds=1)
DEFAULT_LIFE = timedelta(hours=1)


@dataclass
class Ours:
    """Who of a client was refused alike since nobody has succeeded."""

    code: str
    since: datetime
    grants: set[UUID] = field(default_factory=set)


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
        self._ours: dict[int, Ours] = {}
        self._begun_at: dict[UUID, datetime] = {}
        self._counted: dict[UUID, tuple[int, datetime | None]] = {}  # refusals that no rule explains, and since when
        self._refreshed: dict[int, list[tuple[datetime, datetime]]] = {}  # by client: begun, stored

    def forget(self, grant_id: UUID) -> None:
        """An operator had it asked again, or it succeeded."""
        self._runs.pop(grant_id, None)

    def rewound(self) -> None:
        """Commits are gone."""
        self._runs.clear()
        self._ours.clear()
        self._begun_at.clear()
        self._counted.clear()
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
        before = self._counted.get(row["id"], (0, None))
        self._counted[row["id"]] = now = row["refusals"], row["refused_since"]
        # One that a rule explains may end with the very code of an earlier one, and counts for nothing here.
        if now != before and row["last_error_code"] == row["refused_code"] and row["status"] == "active":
            self._count_as_ours(row)

    def _count_as_ours(self, row: Row) -> None:
        """Invariant 12: where three were refused alike and nobody succeeds, all others wait."""
        client_id, begun, code = row["client_id"], self._begun_at.get(row["id"]), row["refused_code"]
        valve, witness = self._tables.valves[client_id], self._tables.witnesses.get(client_id, {}).get("witness_at")
        if begun is None or valve["paused_until"] is not None:
            self._ours.pop(client_id, None)
            return
        if valve["changed_at"] is not None and begun < valve["changed_at"] + MINUTE:
            return  # just opened
        if row["refusals"] > 1 and witness is not None and witness > row["refused_since"]:
            return  # alone
        ours = self._ours.get(client_id)
        if ours is None or ours.code != code or (witness is not None and witness > ours.since):
            self._ours[client_id] = Ours(code, self._tables.now)
            return
        if begun > ours.since:
            ours.grants.add(row["id"])
        if len(ours.grants) >= ALIKE:
            told = (
                f"{len(ours.grants)} were refused alike ({code}) since {ours.since}, nobody succeeds, and all are asked"
            )
            self._fail("12", told, row["ref"])

    def begun(self, row: Row) -> None:
        """An attempt was begun."""
        self._begun_at[row["id"]] = row["started_at"]
        run = self._runs.get(row["id"], [])
        if len(run) > 1 and row["status"] == "active":
            self._check_apart(row, run)
        if len(run) < OFTEN_ENOUGH or run[-1] - run[0] < LONG_ENOUGH or row["status"] != "active":
            return
        if not self._is_alone(row, run[0], run[-1]) or untried(self._tables, row):
            return  # where a former token may be what lives, each has one attempt
        if self._tables.now - run[-1] < HOUR:
            waited = (self._tables.now - run[-1]).total_seconds()
            self._fail("12", f"refused alone {len(run)} times, it is asked again after {waited:.0f} s", row["ref"])

    def _check_apart(self, row: Row, run: list[datetime]) -> None:
        """Invariant 12: who is refused alone is asked once in ten minutes, or in a quarter of a shorter life."""
        least = min(LONG_ENOUGH, (row["life"] or DEFAULT_LIFE) / 4) - ROUNDING
        waited = self._tables.now - run[-1]
        if waited < least and self._is_alone(row, run[0], run[-1]) and not untried(self._tables, row):
            self._fail("12", f"refused alone, it is asked again after {waited.total_seconds():.0f} s", row["ref"])

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
