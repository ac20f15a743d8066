"""The tables of the twin: rows as dicts, changes that can be undone, snapshots that can be put back.

A row's value is replaced, never changed in place, so a shallow copy of a row is a true copy.
"""

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

Row = dict[str, Any]
Undo = list[tuple[MutableMapping[Any, Any], Any, Any]]
Groups = dict[Any, list[Row]]

WHOLE = object()
ABSENT = object()
SEQUENCES = ("clients", "journals", "former_tokens", "refresh_requests", "revocations", "dead_letters")


PLAIN = (
    "installation",
    "clients",
    "valves",
    "witnesses",
    "grants",
    "refresh_requests",
    "revocations",
    "letters",
    "events",
    "journals",
    "ticks",
    "chores",
)


@dataclass(frozen=True, slots=True)
class Agenda:
    """What claims ask of one client's rows, kept until one of them changes."""

    due_at: datetime | None  # the soonest of its active grants
    busy: list[Row]  # claimed or begun, be it that the lease has lapsed
    doubtful: list[Row]  # active, in doubt or begun
    queued: list[Row]  # revocations


class Tables:
    """Everything that PostgreSQL would hold for us, and the identity of that server."""

    def __init__(self, *, now: datetime) -> None:
        self.now = now
        self.timeline = "00000001"
        self.undo: Undo | None = None
        self.installation: dict[int, Row] = {}
        self.clients: dict[int, Row] = {}
        self.valves: dict[int, Row] = {}
        self.witnesses: dict[int, Row] = {}
        self.grants: dict[UUID, Row] = {}
        self.former: dict[UUID, dict[int, Row]] = {}
        self.refresh_requests: dict[int, Row] = {}
        self.revocations: dict[UUID, Row] = {}  # by grant: there is one each
        self.letters: dict[int, Row] = {}
        self.events: dict[int, Row] = {}
        self.journals: dict[int, Row] = {}
        self.ticks: dict[UUID, Row] = {}
        self.chores: dict[str, Row] = {}
        self.sequences: dict[str, int] = {}
        self._names: dict[int, str] = {}  # of the tables whose rows are kept in groups
        self._of_client: dict[str, Groups] = {}
        self._of_grant: dict[str, Groups] = {}
        self._agendas: dict[int, Agenda] = {}

    # What belongs to a client or a grant: kept, since most statements ask for it, and few change it

    def of_client(self, name: str, client_id: int) -> Sequence[Row]:
        """The rows of a table that belong to a client, in the table's order."""
        found = self._of_client.get(name)
        return (self._grouped(self._of_client, name, "client_id") if found is None else found).get(client_id, ())

    def of_grant(self, name: str, grant_id: UUID) -> Sequence[Row]:
        """The rows of a table that belong to a grant, in the table's order."""
        found = self._of_grant.get(name)
        return (self._grouped(self._of_grant, name, "grant_id") if found is None else found).get(grant_id, ())

    def _grouped(self, kept: dict[str, Groups], name: str, column: str) -> Groups:
        table: dict[Any, Row] = getattr(self, name)
        self._names[id(table)] = name
        found = kept[name] = {}
        for row in table.values():
            found.setdefault(row[column], []).append(row)
        return found

    def agenda(self, client_id: int) -> Agenda:
        """What is to be done for a client."""
        if (found := self._agendas.get(client_id)) is None:
            found = self._agendas[client_id] = self._agenda(client_id)
        return found

    def _agenda(self, client_id: int) -> Agenda:
        due_at, busy, doubtful = None, [], []
        for row in self.of_client("grants", client_id):
            started = row["started_at"] is not None
            if started or row["claimed_at"] is not None:
                busy.append(row)
            if row["status"] == "active":
                if due_at is None or row["due_at"] < due_at:
                    due_at = row["due_at"]
                if started or row["doubt_since"] is not None:
                    doubtful.append(row)
        queued = [row for row in self.of_client("revocations", client_id) if row["status"] == "queued"]
        return Agenda(due_at, busy, doubtful, queued)

    def _has_come(self, table: MutableMapping[Any, Any], row: Any) -> None:
        if (name := self._names.get(id(table))) is None:
            return
        for kept, column in ((self._of_client, "client_id"), (self._of_grant, "grant_id")):
            if name in kept:
                kept[name].setdefault(row[column], []).append(row)
        self._agendas.pop(row["client_id"], None)

    def _is_other(self, table: MutableMapping[Any, Any]) -> None:
        """Rows of it have gone, or others stand in their place."""
        if (name := self._names.get(id(table))) is not None:
            self._of_client.pop(name, None)
            self._of_grant.pop(name, None)
            self._agendas.clear()

    def _forget(self) -> None:
        self._names.clear()
        self._of_client.clear()
        self._of_grant.clear()
        self._agendas.clear()

    # Changes

    def put(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        """Insert or replace a row."""
        before = table.get(key, ABSENT)
        if self.undo is not None:
            self.undo.append((table, key, before))
        table[key] = value
        if before is ABSENT:
            self._has_come(table, value)
        else:
            self._is_other(table)

    def drop(self, table: dict[Any, Any], key: Any) -> None:
        """Delete a row."""
        if self.undo is not None:
            self.undo.append((table, key, table[key]))
        del table[key]
        self._is_other(table)

    def change(self, row: Row, **values: Any) -> None:
        """Update a row."""
        if self.undo is not None:
            self.undo.append((row, WHOLE, row.copy()))
        row.update(values)
        if "due_at" in row and "client_id" in row:  # a grant or a revocation
            self._agendas.pop(row["client_id"], None)

    def next_id(self, name: str) -> int:
        """The next value of an identity column; as in PostgreSQL a rollback does not give it back."""
        self.sequences[name] = number = self.sequences.get(name, 0) + 1
        return number

    def former_of(self, grant_id: UUID) -> dict[int, Row]:
        """The former tokens of a grant, the oldest first."""
        return self.former.get(grant_id, {})

    def add_former(self, row: Row) -> None:
        """Insert a former token."""
        of_grant = self.former.setdefault(row["grant_id"], {})
        self.put(of_grant, row["id"], row)

    # Undo, snapshots

    def take_back(self, undo: Undo) -> None:
        """Undo changes, the last one first."""
        self._agendas.clear()
        for table, key, before in reversed(undo):
            if key is not WHOLE:
                self._is_other(table)
            if key is WHOLE:
                table.clear()
                table.update(before)
            elif before is ABSENT:
                table.pop(key, None)
            else:
                table[key] = before

    def snapshot(self) -> dict[str, Any]:
        """A copy of all rows, as a backup holds them."""
        flat = {name: {key: row.copy() for key, row in getattr(self, name).items()} for name in PLAIN}
        former = {grant_id: {key: row.copy() for key, row in rows.items()} for grant_id, rows in self.former.items()}
        return {**flat, "former": former, "sequences": dict(self.sequences)}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Put a backup in the place of all rows; the snapshot is used up."""
        self._forget()
        for name, rows in snapshot.items():
            setattr(self, name, rows)
