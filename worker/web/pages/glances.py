"""Glances: the fleet as it was counted last. A million grants take a second, and nobody waits for that twice."""

import asyncio
from datetime import timedelta
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from models.views import pages
from settings import Settings
from tasks.runtime import clock
from worker.cli import glance
from worker.web.database import PATIENCE_SECONDS, Database, DatabaseSilent

log = structlog.get_logger()

FRESH_FOR: Final = timedelta(seconds=5)
LONGEST_COUNT: Final = timedelta(seconds=60)
# For a count that is under way: then the one before is shown, with its time.
SHORT_SECONDS: Final = 0.1


class Glances:
    """Counts when somebody looks, one at a time."""

    def __init__(self, settings: Settings, counts: Database) -> None:
        self._settings = settings
        self._counts = counts
        self._kept: dict[str, Any] | None = None
        self._kept_at: timedelta | None = None
        self._counting: asyncio.Task[None] | None = None

    async def latest(self) -> dict[str, Any]:
        """What was counted last: a few seconds ago, or, where a count takes long, the one before.

        Raises:
            DatabaseSilent: nothing has been counted yet, and it takes longer than anybody waits.

        """
        if self._kept_at is None or clock.boot() - self._kept_at > FRESH_FOR:
            await self._count()
        if self._kept is None:
            raise DatabaseSilent
        return self._kept

    async def _count(self) -> None:
        if self._counting is None or self._counting.done():
            self._counting = asyncio.create_task(self._counts.run(self._look))
        wait = PATIENCE_SECONDS if self._kept is None else SHORT_SECONDS
        done, _ = await asyncio.wait({self._counting}, timeout=wait)
        if done:
            await self._counting  # a failure is told: what was counted before it is no news

    def _look(self, connection: Connection) -> None:
        pages.read_only(connection, within=LONGEST_COUNT)
        self._kept = glance.read(connection, self._settings, sealed=False)
        self._kept_at = clock.boot()
