"""Batches of an import: offered grants become rows, a few hundred in one transaction.

What cannot become a row is told line by line and sinks none of its neighbours.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

from sqlalchemy import Connection

from models import consent, event
from models.consent import LiveRow, NewGrant
from models.vault import Vault
from tasks.oauth.provider import Provider, Reach
from tasks.policy import timing
from worker.cli import session
from worker.cli.import_lines import Bad, Offered


@dataclass
class Tally:
    """What came of a file's lines, by word: imported, replaced, skipped, bad."""

    counts: Counter[str] = field(default_factory=Counter)
    shortest_life: timedelta | None = None

    def record(self) -> dict[str, int]:
        """The counts, each of them there."""
        return {word: self.counts[word] for word in ("imported", "replaced", "skipped", "bad")}


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
        """Store a batch in one transaction, or find out what storing it would do; returns the lines that failed.

        Raises:
            OperationalError: the database is away; nothing of this batch was stored.

        """
        with session.transaction() as connection:
            live = consent.live_rows(connection, self.client_id, [each.ref for each in offered])
            held = self._held(connection, offered) | self._dying(connection, offered)
            new = [each for each in offered if each.line not in held and each.ref not in live]
            known = [each for each in offered if each.line not in held and each.ref in live]
            counts = Counter(imported=len(new), skipped=len(known), bad=len(held))
            if self.replace:
                counts.update(replaced=len(known), skipped=-len(known))
            if not self.dry_run:
                late = self._store(connection, new, known, live)
                counts.update(late)
        tally.counts.update(counts)
        return list(held.values())

    def wanted(self, offered: Sequence[Offered]) -> set[int]:
        """The lines that would be stored: neither skipped nor refused."""
        with session.transaction() as connection:
            live = consent.live_rows(connection, self.client_id, [each.ref for each in offered])
            held = self._held(connection, offered) | self._dying(connection, offered)
        return {each.line for each in offered if each.line not in held and (self.replace or each.ref not in live)}

    def _store(
        self, connection: Connection, new: Sequence[Offered], known: Sequence[Offered], live: dict[str, LiveRow]
    ) -> Counter[str]:
        """Write the rows; returns what another process changed meanwhile, as corrections of the counts."""
        rows = [self._row(each, uuid4()) for each in new]
        made = consent.insert(connection, self.client_id, rows)
        event.of_grants(connection, sorted(made), "grant.imported", actor=self.who)
        taken = len(rows) - len(made)
        late = Counter(imported=-taken, skipped=taken)
        if self.replace:
            changed = consent.overwrite(connection, [self._row(each, live[each.ref].id) for each in known])
            event.of_grants(connection, sorted(changed), "grant.replaced", actor=self.who)
            late.update(replaced=len(changed) - len(known), skipped=len(known) - len(changed))
        return late

    def _held(self, connection: Connection, offered: Sequence[Offered]) -> dict[int, Bad]:
        """Lines whose pair another ref holds already: two grants that share one token would kill each other."""
        by_fingerprint = {
            fingerprint: each for each in offered for fingerprint in self.vault.fingerprints(each.refresh_token)
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
