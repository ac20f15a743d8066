"""Ends: whoever waits for the end of a visit is told of it by one look for all who wait."""

import asyncio
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from models import visit
from worker.web.database import Database

LOOK_AGAIN_SECONDS: Final = 0.1
# Most ends come within a second of the code; who waits for a slow provider needs no such haste.
HASTE_SECONDS: Final = 2.0
LATER_SECONDS: Final = 0.5


@dataclass(slots=True, eq=False)
class Waiter:
    """One page that waits."""

    visit_id: UUID
    told: asyncio.Future[None]
    since: float
    look_at: float

    def looked(self, now: float) -> None:
        """Note that its end has not come yet."""
        self.look_at = now + (LATER_SECONDS if now > self.since + HASTE_SECONDS else LOOK_AGAIN_SECONDS)


class Ends:
    """The pages that wait, and the task that looks for them while there are some."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: set[Waiter] = set()
        self._looking: asyncio.Task[None] | None = None

    async def wait(self, visit_id: UUID, seconds: float) -> None:
        """Wait for a visit's end, for so long at most; raises what a look at it does."""
        loop = asyncio.get_running_loop()
        waiter = Waiter(visit_id, loop.create_future(), loop.time(), loop.time())
        self._waiting.add(waiter)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_again())
        try:
            await asyncio.wait([waiter.told], timeout=seconds)
            if waiter.told.done():
                waiter.told.result()
        finally:
            self._waiting.discard(waiter)

    async def _look_again(self) -> None:
        try:
            while self._waiting:
                await self._look(asyncio.get_running_loop().time())
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
        finally:
            self._looking = None

    async def _look(self, now: float) -> None:
        due = [each for each in self._waiting if each.look_at <= now and not each.told.done()]
        if not due:
            return
        ids = list({each.visit_id for each in due})
        try:
            ended = await self._database.run(lambda connection: visit.ended(connection, ids))
        except Exception as error:  # noqa: BLE001  # it is raised where somebody waits
            for each in self._waiting.intersection(due):
                each.told.set_exception(error)
            return
        for each in self._waiting.intersection(due):
            if ended[each.visit_id]:
                each.told.set_result(None)
            else:
                each.looked(now)
