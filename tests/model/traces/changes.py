"""What one transaction of the simulation has changed, as far as a trace shows it."""

from dataclasses import dataclass, field
from uuid import UUID

from tests.simulation.tables import ABSENT, WHOLE, Row, Tables, Undo


@dataclass
class Changes:
    """What one transaction has changed."""

    grants: dict[int, tuple[Row, Row]] = field(default_factory=dict)  # by row: before, after
    surplus: list[Row] = field(default_factory=list)
    drained: list[int] = field(default_factory=list)  # journals
    end_asked: list[UUID] = field(default_factory=list)

    @classmethod
    def of(cls, undo: Undo, tables: Tables) -> "Changes":
        """Read them."""
        made = cls()
        for table, key, before in undo:
            if key is WHOLE:
                made._changed(before, table)  # type: ignore[arg-type]  # a row, where it was changed as a whole
            elif before is ABSENT and isinstance(row := table.get(key), dict):
                made._put(row, is_end=table is tables.revocations)
        return made

    def _changed(self, before: Row, row: Row) -> None:
        if "claim_no" in row:
            self.grants.setdefault(id(row), (before, row))
        elif row.get("drained_at") and not before["drained_at"]:
            self.drained.append(row["id"])

    def _put(self, row: Row, *, is_end: bool) -> None:
        if is_end:
            self.end_asked.append(row["grant_id"])
        elif row.get("kind") == "surplus":
            self.surplus.append(row)
