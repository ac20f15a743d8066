"""Traces of the simulation: an onlooker of an episode, and the windows that it has seen."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from simulator.ledger import Pair
from tasks.journal import Entry, Position
from tasks.runtime.attempt import Arrived
from tests.model.traces.changes import Changes
from tests.model.traces.watched import Watched
from tests.model.traces.window import KEPT_FORMER, LEAST, Row, Window
from tests.simulation.episode import Episode
from tests.simulation.keys import OpenVault
from tests.simulation.network import Sent
from tests.simulation.onlooker import Onlooker
from tests.simulation.statements.attempts import NOBODYS, OFTEN_ENOUGH, undrained
from tests.simulation.statements.claims import is_reported
from tests.simulation.tables import Row as TableRow
from tests.simulation.tables import Undo
from tests.simulation.worker import Worker


class Watcher(Onlooker):
    """Watches every grant of an episode."""

    def __init__(self, episode: Episode) -> None:
        self.episode = episode
        self.windows: list[tuple[Window, list[int]]] = []
        self.rewinds = False
        self._watched: dict[UUID, Watched] = {}
        self._positions: dict[Position, tuple[UUID, int]] = {}
        self._lacking: Sequence[Entry] = ()  # what a journal could not take last
        self._vault = OpenVault()

    # What an episode tells

    def committed(self, undo: Undo) -> None:
        tables, changes = self.episode.tables, Changes.of(undo, self.episode.tables)
        for row in changes.surplus:
            self._surplus(row, changes.grants)
        for before, after in changes.grants.values():
            self._changed(before, after)
        for grant_id in changes.end_asked:
            self._of(grant_id).asked_to_end(tables.now, self._row(tables.grants[grant_id]))
        for journal in changes.drained:
            for grant_id, watched in self._watched.items():
                if grant_id in tables.grants:
                    watched.drained(tables.now, self._row(tables.grants[grant_id]), journal)
        for _, after in changes.grants.values():
            self._begin(after)

    def _surplus(self, row: TableRow, befores: dict[int, Any]) -> None:
        grant = self.episode.tables.grants.get(row["grant_id"])
        if grant is None:
            return
        before = befores.get(id(grant), (grant, grant))[0]
        if before["generation"] == grant["generation"]:  # else it is the row's own pair that has a sibling now
            pair = self._pair(row["sealed_access_token"], row["grant_id"])
            self._of(grant["id"]).surplus(self.episode.tables.now, self._row(before), pair)

    def _changed(self, before: TableRow, after: TableRow) -> None:
        if after["id"] not in self.episode.tables.grants:
            return
        self._of(after["id"]).changed(
            self.episode.tables.now,
            self._row(before),
            self._row(after),
            journal=self._journal(self.episode.world.current),
            undrained=undrained(self.episode.tables, after["doubt_journals"]),
        )

    def sends(self, worker: Any, sent: Sent) -> None:
        pair = self.episode.provider.ledger.by_refresh_token.get(sent.token)
        if sent.endpoint != "token" or pair is None or sent.attempt is None:
            return
        job = sent.attempt.job
        if (row := self._grant(job.grant_id)) is not None:
            self._of(job.grant_id).sends(
                self.episode.tables.now,
                row,
                self._journal(worker) or 0,
                claim_no=job.claim_no,
                generation=job.generation,
                token=None if self.episode.profile.name == "none" else pair.number,
            )

    def froze(self, sent: Sent) -> None:
        if sent.attempt is not None:
            self._of(sent.attempt.job.grant_id).cut("frozen between the last guard and the first byte")

    def journaled(self, worker: Any, entries: Sequence[Entry], positions: Sequence[Position]) -> None:
        kept = [
            entry for entry in entries[: len(positions)] or entries if not any(entry is each for each in self._lacking)
        ]
        pairs = [self._journaled(worker, entry, kept=True) for entry in kept]
        for entry, pair, position in zip(kept, pairs, positions, strict=False):
            if pair is not None:
                self._positions[position] = UUID(entry.grant_id), pair

    def not_journaled(self, worker: Any, entries: Sequence[Entry]) -> None:
        self._lacking = entries
        for entry in entries:
            self._journaled(worker, entry, kept=False)

    def _journaled(self, worker: Any, entry: Entry, *, kept: bool) -> int | None:
        grant_id, pair = UUID(entry.grant_id), self._answered(entry.body)
        row = self._grant(grant_id)
        if pair is not None and row is not None:
            self._of(grant_id).journaled(
                self.episode.tables.now,
                row,
                self._journal(worker) or 0,
                pair,
                kept=kept,
                started_at=entry.started_at,
            )
        return pair

    def marked(self, worker: Any, positions: Sequence[Position]) -> None:
        journal = self._journal(worker) or 0
        for grant_id, pair in [self._positions[each] for each in positions if each in self._positions]:
            row = self._grant(grant_id)
            if row is not None:
                self._of(grant_id).marked(self.episode.tables.now, row, journal, pair)
                self._begin(self.episode.tables.grants[grant_id])

    def settled(self, worker: Any, group: Sequence[Arrived]) -> None:
        journal = self._journal(worker)
        for each in group if journal is not None else ():
            self._of(each.attempt.job.grant_id).done(journal or 0, each.attempt.job.claim_no)

    def killed(self, worker: Any) -> None:
        journal = self._journal(worker)
        for grant_id, watched in self._watched.items() if journal is not None else ():
            if (row := self._grant(grant_id)) is not None:
                watched.killed(self.episode.tables.now, row, journal or 0)

    def rewound(self) -> None:
        self.rewinds = True
        for watched in self._watched.values():
            watched.cut("commits that are gone")

    def end(self) -> None:
        """The episode is over: what is open ends as it is."""
        for watched in self._watched.values():
            watched.end()

    # What it looks up

    def _of(self, grant_id: UUID) -> Watched:
        if (found := self._watched.get(grant_id)) is None:

            def close(window: Window) -> None:
                self.windows.append((window, list(self.episode.judge.consents[grant_id].pairs)))

            found = self._watched[grant_id] = Watched(self.episode.profile.name, close)
        return found

    def _begin(self, row: TableRow) -> None:
        watched = self._of(row["id"])
        if watched.window is not None or self.rewinds or row["id"] not in self.episode.tables.grants:
            return
        seen = self._row(row)
        consent = self.episode.judge.consents[row["id"]]
        newest = seen.pair == max(consent.pairs)
        if not (newest and watched.looks_quiet(seen) and row["refusals"] == 0 and consent.revoked_at is None):
            return
        former = [each for each in self.episode.tables.former_of(row["id"]).values() if each["known_dead_at"] is None]
        before = [self._pair(each["sealed_access_token"], row["id"]) for each in former[-1:]]
        if former and (self.episode.profile.name not in KEPT_FORMER or former[-1]["kind"] != "predecessor"):
            return
        watched.begin(seen, before, has_more_before=len(former) > 1)

    def _grant(self, grant_id: UUID) -> Row | None:
        row = self.episode.tables.grants.get(grant_id)
        return None if row is None else self._row(row)

    def _row(self, row: TableRow) -> Row:
        claimed_at = row["claimed_at"]
        return Row(
            claim_no=row["claim_no"],
            generation=row["generation"],
            pair=self._pair(row["sealed_access_token"], row["id"]),
            status=row["status"],
            claimed=0 if claimed_at is None else 2 if claimed_at <= NOBODYS else 1,
            started_at=row["started_at"],
            started_by=row["journal_id"],
            doubt=row["doubt_since"] is not None,
            doubt_journals=tuple(row["doubt_journals"]),
            suspect=row["suspect_at"] is not None,
            due_at=row["due_at"],
            refused_alone=row["refusals"] >= OFTEN_ENOUGH,
            serves_until=self._serves_until(row),
        )

    def _serves_until(self, row: TableRow) -> datetime | None:
        expires_at, life = row["access_expires_at"], row["life"]
        if expires_at is None or row["rejected_at"] is not None or is_reported(self.episode.tables, row):
            return None
        least = LEAST if life is None else min(LEAST, life / 4)
        return expires_at - least  # type: ignore[no-any-return]

    def _pair(self, sealed: bytes | None, grant_id: UUID) -> int | None:
        if not sealed:
            return None
        token = self._vault.open(sealed, table="grants", row_id=grant_id, purpose="access")
        return self._number(self.episode.provider.ledger.by_access_token.get(token))

    def _answered(self, body: bytes) -> int | None:
        try:
            token = json.loads(body)["access_token"]
        except (ValueError, KeyError, TypeError):
            return None
        return self._number(self.episode.provider.ledger.by_access_token.get(token))

    def _number(self, pair: Pair | None) -> int | None:
        return None if pair is None else pair.number

    def _journal(self, process: Any) -> int | None:
        if not isinstance(process, Worker) or process.runtime is None:
            return None
        return process.runtime.journal_id
