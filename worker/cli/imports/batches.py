"""Batches of an import: offered grants become rows, some thousands in one transaction.

What cannot become a row is told line by line and sinks none of its neighbours.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from difflib import get_close_matches
from uuid import UUID, uuid4

from sqlalchemy import Connection

from models import bulk_import, consent
from models.bulk_import import Incoming
from models.sealing.vault import Vault
from models.states.client import Keep
from models.states.grant import GrantStatus
from tasks.oauth.provider import Provider
from tasks.oauth.shapes import Reach
from tasks.policy.ends import next_due
from worker.cli import session
from worker.cli.imports.lines import READ, Bad, Offered
from worker.cli.meant import ALIKE


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a batch: counts by word, and the lines that could not be used."""

    counts: Counter[str]
    bad: list[Bad]


Unread = dict[str, tuple[int, int]]
"""Members of lines that mean nothing here: how many lines have each, and the first of them."""
MOST_UNREAD = 20


def note(unread: Unread, more: Unread) -> None:
    """Add what further lines have; of very many names the first are kept."""
    for name, (count, line) in more.items():
        before, first = unread.get(name, (0, line))
        if before or len(unread) < MOST_UNREAD:
            unread[name] = (before + count, min(first, line))


@dataclass
class Tally:
    """What came of a file's lines, by word: imported, replaced, skipped, bad."""

    counts: Counter[str] = field(default_factory=Counter)
    unread: Unread = field(default_factory=dict)

    def add(self, taken: Taken) -> list[Bad]:
        """Count what came of a batch; returns the lines that could not be used."""
        self.counts.update(taken.counts)
        return taken.bad

    def told_unread(self) -> list[str]:
        """What of the lines nobody has read, each name once: a misspelt one costs what it was to say."""
        told = []
        for name, (count, line) in self.unread.items():
            close = get_close_matches(name, sorted(READ), n=1, cutoff=ALIKE)
            meant = f"; did you mean {close[0]}?" if close else "; to import paused, give --paused" * (name == "paused")
            lines = "1 line" if count == 1 else f"{count} lines"
            told.append(f"{name} means nothing here and was not read ({lines}, the first is {line}){meant}")
        return told

    def record(self) -> dict[str, int]:
        """The counts, each of them there."""
        return {word: self.counts[word] for word in ("imported", "replaced", "skipped", "bad")}


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines, the fingerprints of their refresh tokens, and the rows that they become where their refs are new."""

    offered: Sequence[Offered]
    fingerprints: Sequence[list[bytes]] = field(repr=False)
    rows: Sequence[Incoming] = field(repr=False)  # none in a dry run


@dataclass(frozen=True)
class Intake:
    """Where grants are taken in, and how."""

    client_id: int
    provider: Provider
    vault: Vault
    who: str
    paused: bool
    replace: bool
    dry_run: bool
    keep: str = Keep.WARM

    def take(self, offered: Sequence[Offered], tally: Tally) -> list[Bad]:
        """Seal and store lines; returns those that could not be used.

        Raises:
            OperationalError: the database is away; nothing of this batch was stored.

        """
        return tally.add(self.store(self.sealed(offered)))

    def sealed(self, offered: Sequence[Offered]) -> Batch:
        """Seal lines for new rows, which they become where their refs are new; the database is not asked."""
        fingerprints = self._fingerprints(offered)
        rows = [] if self.dry_run else list(map(self._row, offered, fingerprints, (uuid4() for _ in offered)))
        return Batch(offered, fingerprints, rows)

    def store(self, batch: Batch) -> Taken:
        """Store a batch in one transaction, or find out what storing it would do.

        Raises:
            OperationalError: the database is away; nothing of this batch was stored.

        """
        with session.transaction() as connection:
            live, held = self._live(connection, batch.offered), self._refused(connection, batch)
            known = [each for each in batch.offered if each.ref in live and each.line not in held]
            counts = Counter(imported=len(batch.offered) - len(held) - len(known), bad=len(held))
            counts["replaced" if self.replace else "skipped"] = len(known)
            if not self.dry_run:
                rows = [
                    row
                    for each, row in zip(batch.offered, batch.rows, strict=True)
                    if each.ref not in live and each.line not in held
                ]
                counts.update(self._write(connection, rows, self._rows(known, live) if self.replace else []))
        return Taken(counts, list(held.values()))

    def wanted(self, offered: Sequence[Offered]) -> set[int]:
        """The lines that would be stored: neither skipped nor refused."""
        with session.transaction() as connection:
            live = self._live(connection, offered)
            held = self._refused(connection, Batch(offered, self._fingerprints(offered), []))
        return {each.line for each in offered if each.line not in held and (self.replace or each.ref not in live)}

    def _fingerprints(self, offered: Sequence[Offered]) -> list[list[bytes]]:
        return [self.vault.fingerprints(each.refresh_token) for each in offered]

    def _live(self, connection: Connection, offered: Sequence[Offered]) -> dict[str, UUID]:
        """The rows that hold these refs, by ref; locked where they are to be replaced."""
        refs = [each.ref for each in offered]
        if self.replace:
            return {ref: row.id for ref, row in consent.live_rows(connection, self.client_id, refs).items()}
        return bulk_import.present(connection, self.client_id, refs)

    def _write(self, connection: Connection, new: list[Incoming], known: list[Incoming]) -> Counter[str]:
        """Write rows; returns what other processes changed meanwhile, as corrections of the counts."""
        if not new and not known:
            return Counter()
        bulk_import.copy(connection, new + known)
        changed = bulk_import.overwrite(connection, actor=self.who) if known else 0
        made = bulk_import.make(connection, self.client_id, actor=self.who)
        late_new, late_known = len(new) - made, len(known) - changed
        return Counter(imported=-late_new, replaced=-late_known, skipped=late_new + late_known)

    def _refused(self, connection: Connection, batch: Batch) -> dict[int, Bad]:
        """Lines that must not come in, by number."""
        return self._held(connection, batch) | self._dying(connection, batch.offered)

    def _held(self, connection: Connection, batch: Batch) -> dict[int, Bad]:
        """Lines whose pair another ref holds already: two grants that share one token would kill each other."""
        by_fingerprint = {
            fingerprint: each
            for each, fingerprints in zip(batch.offered, batch.fingerprints, strict=True)
            for fingerprint in fingerprints
        }
        held: dict[int, Bad] = {}
        for holder in consent.holders(connection, list(by_fingerprint)):
            each = by_fingerprint[bytes(holder.fingerprint)]
            if (holder.client_id, holder.ref) != (self.client_id, each.ref):
                reason = f"its refresh token is held by {holder.ref} of client {holder.client}"
                held[each.line] = Bad(each.line, reason, each.ref)
        return held

    def _dying(self, connection: Connection, offered: Sequence[Offered]) -> dict[int, Bad]:
        """Lines whose ref is being revoked, where that would kill what comes in now, too."""
        if self.provider.revocation is not Reach.GRANT:
            return {}
        pending = consent.pending_revocations(connection, self.client_id, [each.ref for each in offered])
        return {
            each.line: Bad(each.line, f"revocation {pending[each.ref]} of this ref has not ended", each.ref)
            for each in offered
            if each.ref in pending
        }

    def _rows(self, offered: Sequence[Offered], ids: Mapping[str, UUID]) -> list[Incoming]:
        """Seal lines for the rows that hold their refs."""
        found = self._fingerprints(offered)
        return [self._row(each, marks, ids[each.ref]) for each, marks in zip(offered, found, strict=True)]

    def _row(self, each: Offered, fingerprints: list[bytes], grant_id: UUID) -> Incoming:
        life = each.life or timedelta(seconds=self.provider.default_life_seconds)
        # Without an access token its expiry says nothing.
        expires_at = each.expires_at if each.access_token is not None else None
        row_id = str(grant_id)
        return Incoming(
            id=grant_id,
            ref=each.ref,
            status=GrantStatus.PAUSED if self.paused else GrantStatus.ACTIVE,
            labels=json.dumps(each.labels),
            scope=each.scope,
            sealed_refresh_token=self._seal(row_id, each.refresh_token, "refresh"),
            sealed_access_token=self._seal(row_id, each.access_token, "access") if each.access_token else None,
            refresh_fingerprint=fingerprints[0],
            access_expires_at=expires_at,
            life=life,
            due_at=self._due(each, expires_at - life, life, grant_id) if expires_at is not None else None,
            ever_in_doubt=each.in_doubt,
            refresh_expires_at=each.refresh_expires_at,
            consent_expires_at=each.consent_expires_at,
        )

    def _due(self, each: Offered, started_at: datetime, life: timedelta, grant_id: UUID) -> datetime:
        on_demand = self.keep == Keep.ON_DEMAND and self.provider.may_rest
        return next_due(
            self.provider, life, started_at, grant_id, on_demand=on_demand, refresh_end=each.refresh_expires_at
        )

    def _seal(self, row_id: str, token: str, purpose: str) -> bytes:
        return self.vault.seal(token, table="grants", row_id=row_id, purpose=purpose)
