"""Whose open transaction keeps rows of ours from us: a forgotten psql stops all of a client."""

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from tasks.policy.backlog import LATE

if TYPE_CHECKING:
    from sqlalchemy import Connection

FORGOTTEN: Final = timedelta(minutes=1)  # what lasts longer is ended by somebody, or by nobody


def holder(connection: "Connection") -> dict[str, Any] | None:
    """Who has held locks for very long, as `status` shows it."""
    from models import lock_holder

    found = lock_holder.long_holder(connection)
    return None if found is None else {**found._asdict(), "told": str(found), "next": found.remedy}


def attention(found: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """What of it is told; of one who is not told since when, where something is late."""
    held = found["lock_holder"]
    if held is None or (held["seconds"] is None and (found["lateness_seconds"] or 0) < LATE.total_seconds()):
        return []
    is_forgotten = (held["seconds"] or 0) >= FORGOTTEN.total_seconds()
    return [(f"an open transaction is in the way: {held['told']}", held["next"], is_forgotten or found["lapsed"] > 0)]
