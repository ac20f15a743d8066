"""Who asks web: the application whose key came as Bearer (RFC 6750 §2.1), and whether it asks too much."""

import asyncio
import hmac
from datetime import timedelta

import structlog
from aiohttp import web

from models import application, application_key
from models.application import Holder
from models.states.application import Right
from tasks.runtime import clock
from worker.web.database import Database
from worker.web.refusal import Refusal, expired_key, unauthorized, wrong_key

# How long a removed key may still work, and a new one not yet.
FRESH_FOR = timedelta(seconds=2)
BURST_SECONDS = 10
# How exactly it is known when a key was used last: each use of its own would be a write for every read.
NOTED_EACH = timedelta(seconds=60)

log = structlog.get_logger()


class Applications:
    """The applications and their keys, as the database had them a moment ago."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._holders: list[Holder] = []
        self._read_at: timedelta | None = None
        self._forgotten = 0  # how often the database has said that what is known is out of date
        self._known_under = 0  # what that was when the reading of what is known began
        self._reading: asyncio.Task[None] | None = None
        self._reading_under = 0
        self._noted_at: dict[int, timedelta] = {}
        self._noting: set[asyncio.Task[None]] = set()

    async def who(self, request: web.Request) -> Holder:
        """The application that asks.

        Raises:
            Refusal: no key came, or one that nobody has, or that has ended.

        """
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise unauthorized("missing_key", "No application key came", 'Bearer realm="evergrant"')
        presented = application.hashed(key.strip())
        # All of them, each in constant time: how long it takes tells nothing of any.
        found = [each for each in await self._known() if hmac.compare_digest(each.key_hash, presented)]
        if not found:
            raise wrong_key()
        if self._has_ended(found[0]):
            raise expired_key(found[0].name)
        self._note_used(found[0])
        return found[0]

    def forget(self) -> None:
        """The database has just said that a key is no more: what a moment ago was known of all is out of date.

        So is what is being read: that may have begun before the key was taken away.
        """
        self._forgotten += 1

    def _has_ended(self, holder: Holder) -> bool:
        return holder.left is not None and holder.left <= clock.boot() - (self._read_at or timedelta(0))

    def _note_used(self, holder: Holder) -> None:
        """Note it later, by itself: nobody waits for that, and a database that only reads is no reason to refuse."""
        now = clock.boot()
        if holder.key_id is None or now - self._noted_at.get(holder.key_id, -NOTED_EACH) < NOTED_EACH:
            return
        self._noted_at[holder.key_id] = now
        noting = asyncio.create_task(self._note(holder.key_id))
        self._noting.add(noting)
        noting.add_done_callback(self._noting.discard)

    async def _note(self, key_id: int) -> None:
        try:
            await self._database.run(lambda connection: application_key.note_used(connection, [key_id]))
        except Exception as error:  # noqa: BLE001  # the next minute may do it
            log.warning("web.use_not_noted", error=type(error).__name__)

    async def _known(self) -> list[Holder]:
        """All of them; who comes while they are read waits for that, and is told together where it fails."""
        if not self._is_fresh():
            if self._reading is None or self._reading.done() or self._reading_under < self._forgotten:
                self._reading_under = self._forgotten
                self._reading = asyncio.create_task(self._read(self._forgotten))
            await asyncio.shield(self._reading)
        return self._holders

    def _is_fresh(self) -> bool:
        in_time = self._read_at is not None and clock.boot() - self._read_at < FRESH_FOR
        return in_time and self._known_under == self._forgotten

    async def _read(self, under: int) -> None:
        read_at = clock.boot()
        holders = await self._database.run(application.holders)
        if under >= self._known_under:  # else one that began later was quicker
            self._holders, self._read_at, self._known_under = holders, read_at, under


def allow(holder: Holder, right: Right) -> None:
    """Let pass what a key may do.

    Raises:
        Refusal: it may not.

    """
    if right in holder.may:
        return
    rights = ",".join([*application.in_order(holder.may), right])
    raise Refusal(
        403,
        "not_allowed",
        f"The key of {holder.name} may not {right}",
        f"have an operator make one that may: `evergrant apps add NAME --may {rights} --key-file FILE`",
        headers={"WWW-Authenticate": 'Bearer realm="evergrant", error="insufficient_scope"'},
        right=str(right),
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
