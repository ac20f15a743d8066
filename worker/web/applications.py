"""Who asks web: the application whose key came as Bearer (RFC 6750 §2.1), and whether it asks too much."""

import asyncio
import hmac
from datetime import timedelta

from aiohttp import web

from models import application
from models.application import Holder
from tasks.runtime import clock
from worker.web.database import Database
from worker.web.refusal import Refusal

# How long a removed key may still work, and a new one not yet.
FRESH_FOR = timedelta(seconds=2)
BURST_SECONDS = 10


class Applications:
    """The applications and their keys, as the database had them a moment ago."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._holders: list[Holder] = []
        self._read_at: timedelta | None = None
        self._reading: asyncio.Task[None] | None = None

    async def who(self, request: web.Request) -> Holder:
        """The application that asks.

        Raises:
            Refusal: no key came, or one that nobody has.

        """
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise _unauthorized("missing_key", "No application key came", 'Bearer realm="evergrant"')
        presented = application.hashed(key.strip())
        # All of them, each in constant time: how long it takes tells nothing of any.
        found = [each for each in await self._known() if hmac.compare_digest(each.key_hash, presented)]
        if not found:
            challenge = 'Bearer realm="evergrant", error="invalid_token"'
            raise _unauthorized("wrong_key", "This application key opens nothing", challenge)
        return found[0]

    async def _known(self) -> list[Holder]:
        """All of them; who comes while they are read waits for that, and is told together where it fails."""
        if self._read_at is None or clock.boot() - self._read_at >= FRESH_FOR:
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read())
            await asyncio.shield(self._reading)
        return self._holders

    async def _read(self) -> None:
        read_at = clock.boot()
        self._holders = await self._database.run(application.holders)
        self._read_at = read_at


def _unauthorized(error: str, message: str, challenge: str) -> Refusal:
    return Refusal(
        401,
        error,
        message,
        "send Authorization: Bearer with a key that an operator made with `evergrant apps add`",
        headers={"WWW-Authenticate": challenge},
    )


class Rates:
    """What each application may ask: a bucket that holds ten seconds' worth and fills as time goes by."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._most = max(1.0, per_second * BURST_SECONDS)
        self._left: dict[int, tuple[timedelta, float]] = {}

    def take(self, asker: Holder) -> None:
        """Count one request.

        Raises:
            Refusal: it is one too many for now.

        """
        now = clock.boot()
        since, left = self._left.get(asker.id, (now, self._most))
        left = min(self._most, left + (now - since).total_seconds() * self._per_second)
        self._left[asker.id] = (now, left - 1 if left >= 1 else left)
        if left < 1:
            raise Refusal(
                429,
                "too_many_requests",
                f"{asker.name} may ask {self._per_second:g} times a second",
                "keep a token until it is about to expire instead of asking each time",
                retry_after=timedelta(seconds=(1 - left) / self._per_second),
            )
