"""What the journals hold, as the judge saw it written: no mark and no end of a journal before the database has it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from simulator.ledger import Pair
from simulator.provider import SimulatedProvider
from tasks.journal import Entry, Position
from tests.simulation.network import Sent
from tests.simulation.tables import Row, Tables
from tests.simulation.world import EPOCH


@dataclass(frozen=True)
class Written:
    """A token set on a platter."""

    pair: Pair
    grant_id: UUID


class JournalJudge:
    """Invariant 2, at the instants at which a journal says that it is done with a token set."""

    def __init__(
        self, tables: Tables, provider: SimulatedProvider, recorded: set[int], fail: Callable[[str, str, str], None]
    ) -> None:
        self._tables = tables
        self._provider = provider
        self._recorded = recorded  # pairs that a commit has stored, also one that is gone since
        self._fail = fail
        self._newest: dict[int, Pair] = {}  # recorded, of each consent
        self._missing: set[int] = set()  # of those: what commits that are gone had stored, and no row holds
        self._written: dict[Position, Written] = {}
        self._of_journal: dict[int, list[Written]] = {}

    def wrote(self, held: Sequence[Sent], entries: Sequence[Entry], positions: Sequence[Position]) -> None:
        """A process has journaled answers."""
        for entry, position in zip(entries, positions, strict=False):
            sent = next((each for each in held if each.body == entry.body and each.consent), None)
            if sent is not None and sent.pair is not None:
                pair = self._provider.ledger.grants[sent.consent].pairs[sent.pair]
                written = self._written[position] = Written(pair, UUID(entry.grant_id))
                self._of_journal.setdefault(position.journal_id, []).append(written)

    def stored(self, pair: Pair) -> None:
        """A commit has stored a pair."""
        newest = self._newest.get(pair.grant.number)
        if newest is None or newest.number < pair.number:
            self._newest[pair.grant.number] = pair
        self._missing.discard(pair.number)

    def rewound(self, held_tokens: set[str]) -> None:
        """Commits are gone: only these refresh tokens are held now."""
        self._missing = {pair.number for pair in self._newest.values() if pair.refresh_token not in held_tokens}

    def marked(self, positions: Sequence[Position]) -> None:
        """A process is about to mark entries as settled."""
        for written in [self._written[each] for each in positions if each in self._written]:
            self._check(written, "marked settled", written.pair.number in self._recorded)

    def journal_changed(self, before: Row, after: Row) -> None:
        """A journal is said to be drained, or replayed after a restore."""
        what = "drained" if after["drained_at"] and not before["drained_at"] else ""
        if after["replayed_incident"] != before["replayed_incident"]:
            what = "replayed"
        for written in self._of_journal.get(after["id"], ()) if what else ():
            self._check(written, f"in journal {after['id']}, {what}", written.pair.number in self._recorded)
            if what == "replayed":
                self._check(written, f"in journal {after['id']}, {what}", not self._is_missing(written))

    def _is_missing(self, written: Written) -> bool:
        """Whether it is gone with its commit; one whose grant's end was asked for is judged by the revocation."""
        lives = written.pair.refresh_alive((self._tables.now - EPOCH).total_seconds())
        return lives and written.pair.number in self._missing and written.grant_id not in self._tables.revocations

    def _check(self, written: Written, what: str, stored: bool) -> None:  # of this file alone
        row = self._tables.grants.get(written.grant_id)
        if not stored and row is not None:
            self._fail("2", f"pair {written.pair.number} is {what}, but neither row nor surplus holds it", row["ref"])
