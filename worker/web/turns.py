"""Turns: of each application one request is carried out at a time, so that none keeps the others waiting."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from worker.web.refusal import too_many_wait

MOST_WAITING: Final = 10  # of one application


class Turns:
    """Where one waits for a lock, it is its own requests that wait behind it."""

    def __init__(self) -> None:
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._waiting: defaultdict[int, int] = defaultdict(int)

    @asynccontextmanager
    async def of(self, holder: int) -> AsyncIterator[None]:
        """Wait for a turn of this application, and have it while the context is open.

        Raises:
            Refusal: too many of its requests wait already.

        """
        if self._waiting[holder] >= MOST_WAITING:
            raise too_many_wait()
        self._waiting[holder] += 1
        try:
            async with self._locks[holder]:
                yield
        finally:
            self._waiting[holder] -= 1
