"""What the judge knows of suspects: who may judge one, and what a verdict needs beside dead tokens.

A witness and the mass guard are counted here from the provider's ledger and from the rows as they were
before the transaction.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from simulator.ledger import Grant as LedgerGrant
from simulator.ledger import Ledger
from tests.simulation.tables import Row, Tables
from tests.simulation.world import EPOCH, Process

A_DAY = timedelta(days=1)
DEFAULT_LIFE = timedelta(hours=1)
MASS_LEAST, MASS_SHARE = 5, 0.01


class Deaths:
    """Invariant 4, as far as a judgement is concerned."""

    def __init__(self, tables: Tables, ledger: Ledger, fail: Callable[[str, str, str], None]) -> None:
        self._tables = tables
        self._ledger = ledger
        self._fail = fail
        self._begun_by: dict[UUID, Process | None] = {}

    def rewound(self) -> None:
        """Commits are gone: nobody knows who began what."""
        self._begun_by.clear()

    def begun(self, row: Row, process: Process | None) -> None:
        """An attempt was begun."""
        self._begun_by[row["id"]] = process

    def begun_by(self, grant_id: UUID) -> Any:
        """The process that began the last attempt on a grant."""
        return self._begun_by.get(grant_id)

    def ended(self, before: Row, after: Row, process: Process | None) -> None:
        """An attempt was ended without a token set: only its own process may, and only while it is under way."""
        if before["started_at"] is None:
            self._fail("4", "a judgement was written though no attempt was under way", after["ref"])
        if self._begun_by.get(after["id"], process) is not process:
            self._fail("4", "a judgement was written by another process than the one that asked", after["ref"])

    def declared(self, row: Row, consent: LedgerGrant, befores: Mapping[int, Row]) -> None:
        """A grant was declared dead; `befores` are rows as the transaction found them, by `id()`."""
        before = befores.get(id(row), row)
        suspect_at = before["suspect_at"]
        if suspect_at is None:
            self._fail("4", "declared dead at its first refusal", row["ref"])
        if not self._has_a_witness(before, consent):
            self._fail("4", f"declared dead without a witness since {suspect_at}", row["ref"])
        accepted_at = self._tables.valves[row["client_id"]]["deaths_accepted_at"]
        if (accepted_at is None or suspect_at > accepted_at) and self._is_mass(before, befores):
            self._fail("4", "declared dead while many are refused, and no human has looked", row["ref"])

    def _has_a_witness(self, row: Row, consent: LedgerGrant) -> bool:
        now, suspect_at = self._tables.now, row["suspect_at"]
        expires_at = row["access_expires_at"]
        if expires_at is None or expires_at <= now or row["rejected_at"] is not None or now - suspect_at >= A_DAY:
            return True
        since = _seconds(suspect_at)
        return any(
            _answered_after(other, since)
            for other in self._ledger.grants.values()
            if other is not consent and other.client_id == consent.client_id
        )

    def _is_mass(self, dying: Row, befores: Mapping[int, Row]) -> bool:
        rows: list[dict[str, Any]] = [befores.get(id(row), row) for row in self._tables.grants.values()]
        active = [row for row in rows if row["client_id"] == dying["client_id"] and row["status"] == "active"]
        suspects = sum(row["suspect_at"] is not None for row in active)
        horizon = self._tables.now - (dying["life"] or DEFAULT_LIFE)
        asked = sum(row["asked_at"] is not None and row["asked_at"] > horizon for row in active)
        return suspects > max(MASS_LEAST, MASS_SHARE * asked) or (suspects > 1 and suspects >= asked)


def _seconds(at: datetime) -> float:
    return (at - EPOCH).total_seconds()


def _answered_after(consent: LedgerGrant, since: float) -> bool:
    """Whether a token set of this consent was issued after then and may have reached us."""
    for pair in reversed(consent.pairs.values()):
        if pair.issued_at <= since:
            return False
        if not pair.undelivered:
            return True
    return False
