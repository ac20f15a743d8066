"""The tables of the twin: rows as dicts, changes that can be undone, snapshots that can be put back.

A row's value is replaced, never changed in place, so a shallow copy of a row is a true copy.
"""

from collections.abc import MutableMapping
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
    "grants",
    "wishes",
    "revocations",
    "letters",
    "events",
    "journals",
    "ticks",
    "chores",
)


class Tables:
    """Everything that PostgreSQL would hold for us, and the identity of that server."""

    def __init__(self, *, now: datetime) -> None:
        self.now = now
        self.timeline = "00000001"
        self.undo: Undo | None = None
        self.installation: dict[int, Row] = {}
        self.clients: dict[int, Row] = {}
        self.valves: dict[int, Row] = {}
        self.grants: dict[UUID, Row] = {}
        self.former: dict[UUID, dict[int, Row]] = {}
        self.wishes: dict[int, Row] = {}
        self.revocations: dict[UUID, Row] = {}  # by grant: there is one each
        self.letters: dict[int, Row] = {}
        self.events: dict[int, Row] = {}
        self.journals: dict[int, Row] = {}
        self.ticks: dict[UUID, Row] = {}
        self.chores: dict[str, Row] = {}
        self.sequences: dict[str, int] = {}

    # Changes

    def put(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        """Insert or replace a row."""
        if self.undo is not None:
            self.undo.append((table, key, table.get(key, ABSENT)))
        table[key] = value

    def drop(self, table: dict[Any, Any], key: Any) -> None:
        """Delete a row."""
        if self.undo is not None:
            self.undo.append((table, key, table[key]))
        del table[key]

    def change(self, row: Row, **values: Any) -> None:
        """Update a row."""
        if self.undo is not None:
            self.undo.append((row, WHOLE, row.copy()))
        row.update(values)

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

    @staticmethod
    def take_back(undo: Undo) -> None:
        """Undo changes, the last one first."""
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
        for name, rows in snapshot.items():
            setattr(self, name, rows)
