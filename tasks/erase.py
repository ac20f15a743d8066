"""Erase: forget whom dead grants belonged to, where somebody asked for it.

It is noted in the journal first, so that a restored database erases them again.
"""

from datetime import timedelta

import structlog
from sqlalchemy import Connection

import settings as configuration
from models import erasure
from tasks.journal import End, Journal
from tasks.runtime import clock

log = structlog.get_logger()

ACTOR = "evergrant"
MOST = 200  # in one transaction; the chore comes again soon


def erase(connection: Connection, journal: Journal) -> None:
    """Erase what is dead, and forget the fingerprints of what was erased before journals were last shredded.

    Raises:
        JournalBroken: nothing is erased while that cannot be noted.

    """
    ids = erasure.ready(connection, most=MOST)
    if ids:
        for grant_id in ids:
            journal.note_end(End(grant_id=str(grant_id), ended_at=clock.wall(), erase=True))
        erasure.erase(connection, ids, who=ACTOR)
        log.info("erase", count=len(ids))
    erasure.forget_fingerprints(connection, kept=timedelta(hours=configuration.current().journal_hours))
