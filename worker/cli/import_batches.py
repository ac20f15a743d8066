"""Batches of an import: offered grants become rows, some thousands in one transaction.

What cannot become a row is told line by line and sinks none of its neighbours.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

from sqlalchemy import Connection

from models import consent, event, incoming
from models.consent import NewGrant
from models.vault import Vault
from tasks.oauth.provider import Provider, Reach
from tasks.policy import timing
from worker.cli import session
from worker.cli.import_lines import Bad, Offered


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a batch: counts by word, and the lines that could not be used."""

    counts: Counter[str]
    bad: list[Bad]


@dataclass
class Tally:
    """What came of a file's lines, by word: imported, replaced, skipped, bad."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, taken: Taken) -> list[Bad]:
        """Count what came of a batch; returns the lines that could not be used."""
        self.counts.update(taken.counts)
        return taken.bad

    def record(self) -> dict[str, int]:
        """The counts, each of them there."""
        return {word: self.counts[word] for word in ("imported", "replaced", "skipped", "bad")}


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines, the fingerprints of their refresh tokens, and the rows that they become where their refs are new."""

    offered: Sequence[Offered]
    fingerprints: Sequence[list[bytes]] = field(repr=False)
    rows: Sequence[NewGrant] = field(repr=False)  # none in a dry run


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

    def take(self, offered: Sequence[Offered], tally: Tally) -> list[Bad]:
        """Seal and store lines; returns those that could not be used.

        Raises:
            OperationalError: the database is away; nothing of this batch was stored.

        """
        return tally.add(self.store(self.sealed(offered)))

    def sealed(self, offered: Sequence[Offered]) -> Batch:
        """Seal lines for new rows, which they become where their refs are new; the database is not asked."""
        rows = [] if self.dry_run else [self._row(each, uuid4()) for each in offered]
        return Batch(offered, self._fingerprints(offered), rows)

    def store(self, batch: Batch) -> Taken:
        """Store a batch in one transaction, or find out what storing it would do.

        Raises:
            OperationalError: the database is away; nothing of this batch was stored.

        """
        with session.transaction() as connection:
            live, held = self._live(connection, batch.offered), self._refused(connection, batch)
            known = [each for each in batch.offered if each.line not in held and each.ref in live]
            counts = Counter(imported=len(batch.offered) - len(held) - len(known), bad=len(held))
            counts["replaced" if self.replace else "skipped"] = len(known)
            new = [
                row
                for each, row in zip(batch.offered, batch.rows, strict=False)
                if each.line not in held and each.ref not in live
            ]
            counts.update(self._made(connection, new))
            if self.replace and not self.dry_run:
                counts.update(self._overwritten(connection, [self._row(each, live[each.ref]) for each in known]))
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
        return incoming.present(connection, self.client_id, refs)

    def _made(self, connection: Connection, rows: Sequence[NewGrant]) -> Counter[str]:
        """Write new rows; returns what another process was faster with, as corrections of the counts."""
        late = len(rows) - incoming.take_in(connection, self.client_id, rows, actor=self.who)
        return Counter(imported=-late, skipped=late)

    def _overwritten(self, connection: Connection, rows: Sequence[NewGrant]) -> Counter[str]:
        """Replace what rows hold; returns what may not be replaced any more, as corrections of the counts."""
        changed = consent.overwrite(connection, rows)
        event.of_grants(connection, sorted(changed), "grant.replaced", actor=self.who)
        late = len(rows) - len(changed)
        return Counter(replaced=-late, skipped=late)

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

    def _row(self, each: Offered, grant_id: UUID) -> NewGrant:
        life = each.life or timedelta(seconds=self.provider.default_life_seconds)
        usable = each.expires_at is not None and each.access_token is not None
        started_at = each.expires_at - life if each.expires_at is not None else None
        return NewGrant(
            id=grant_id,
            ref=each.ref,
            status="paused" if self.paused else "active",
            generation=1,
            labels=each.labels,
            keep=None,
            scope=each.scope,
            sealed_refresh_token=self._seal(grant_id, each.refresh_token, "refresh"),
            sealed_access_token=self._seal(grant_id, each.access_token, "access") if each.access_token else None,
            refresh_fingerprint=self.vault.fingerprint(each.refresh_token),
            access_expires_at=each.expires_at if usable else None,
            life=life,
            due_at=timing.due_at(started_at, life, grant_id) if usable and started_at else None,
            refreshed_at=None,
            credentials_no=None,
            ever_in_doubt=each.in_doubt,
        )

    def _seal(self, grant_id: UUID, token: str, purpose: str) -> bytes:
        return self.vault.seal(token, table="grants", row_id=grant_id, purpose=purpose)
