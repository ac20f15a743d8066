"""The tables of the twin: rows as dicts, changes that can be undone, snapshots that can be put back.

A row's value is replaced, never changed in place, so a shallow copy of a row is a true copy.
"""

from collections.abc import MutableMapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

Row = dict[str, Any]
Undo = list[tuple[MutableMapping[Any, Any], Any, Any]]

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
        self._of_client: dict[tuple[str, int], list[Row]] = {}
        self._agendas: dict[int, Agenda] = {}

    # What one client has: kept, since most statements ask for it, and few change it

    def of_client(self, name: str, client_id: int) -> list[Row]:
        """The rows of a table that belong to a client, in the table's order."""
        if (found := self._of_client.get((name, client_id))) is None:
            found = [row for row in getattr(self, name).values() if row["client_id"] == client_id]
            self._of_client[name, client_id] = found
        return found

    def agenda(self, client_id: int) -> Agenda:
        """What is to be done for a client."""
        if (found := self._agendas.get(client_id)) is None:
            grants = self.of_client("grants", client_id)
            active = [row for row in grants if row["status"] == "active"]
            found = self._agendas[client_id] = Agenda(
                min((row["due_at"] for row in active), default=None),
                [row for row in grants if row["claimed_at"] is not None or row["started_at"] is not None],
                [row for row in active if row["doubt_since"] is not None or row["started_at"] is not None],
                [row for row in self.of_client("revocations", client_id) if row["status"] == "queued"],
            )
        return found

    def _forget(self) -> None:
        self._of_client.clear()
        self._agendas.clear()

    # Changes

    def put(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        """Insert or replace a row."""
        if self.undo is not None:
            self.undo.append((table, key, table.get(key, ABSENT)))
        table[key] = value
        if table is self.grants or table is self.revocations or table is self.refresh_requests:
            self._forget()

    def drop(self, table: dict[Any, Any], key: Any) -> None:
        """Delete a row."""
        if self.undo is not None:
            self.undo.append((table, key, table[key]))
        del table[key]
        self._forget()

    def change(self, row: Row, **values: Any) -> None:
        """Update a row."""
        if self.undo is not None:
            self.undo.append((row, WHOLE, row.copy()))
        row.update(values)
        if (client_id := row.get("client_id")) is not None:
            self._agendas.pop(client_id, None)

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
        self._forget()
        for table, key, before in reversed(undo):
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
