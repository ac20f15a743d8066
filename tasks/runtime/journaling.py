"""Journaling: an answer that may hold tokens is on the platter before anybody parses it.

Where the journal cannot be written sending stops, for every guard asks it first, and what has arrived meanwhile goes
straight to the database.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import repeat
from uuid import UUID

import structlog

from models.client import Known
from tasks.journal import Entry, Journal, JournalBroken, Position
from tasks.journal.entry import Kind
from tasks.oauth.answer import Answer, Response

log = structlog.get_logger()


def entry_of(
    answer: Answer,
    known: Known,
    *,
    kind: Kind,
    grant_id: UUID,
    ref: str,
    labels: dict[str, list[str]],
    generation: int,
    fingerprint: bytes,
    started_at: datetime,
    received_at: datetime,
) -> Entry:
    """An answer that may hold tokens, as the journal takes it."""
    assert isinstance(answer, Response)  # noqa: S101  # nothing else may hold tokens
    return Entry(
        kind=kind,
        grant_id=str(grant_id),
        client=known.name,
        ref=ref,
        labels=labels,
        generation=generation,
        fingerprint=fingerprint,
        credentials_no=known.credentials_no,
        started_at=started_at,
        received_at=received_at,
        status=answer.status,
        body=answer.body,
    )


def write_down(journal: Journal, entries: Sequence[Entry]) -> list[Position | None]:
    """Append answers to this process's journal; returns where each of them stands, None: nowhere.

    Never fails: where the journal is broken the answers go straight to the database.
    """
    try:
        positions = journal.append(entries)
    except JournalBroken as error:
        log.error("journal.broken", reason=error.reason)  # noqa: TRY400  # the reason says it all
        # Records that reached the file though perhaps not the disk: marked once they are settled all the same.
        positions = error.positions
    return [*positions, *repeat(None, len(entries) - len(positions))]
