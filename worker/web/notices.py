"""Notices: what a provider tells by itself is taken in, sealed, and left to a worker, which holds the client's secret.

This process can prove nothing. So it takes little: what has a rule and a proof to be looked at, at most 64 KiB, at most
so many a second of all clients together, and at most so many that wait of each.
"""

import asyncio
from datetime import timedelta
from typing import Final
from uuid import uuid4

import structlog
from aiohttp import web

from models import notice
from models.sealing.vault import Vault
from settings import Settings
from tasks.oauth.errors import OAuthError
from tasks.oauth.notice_proof import Came, header_of
from tasks.oauth.notices import Notice
from tasks.runtime import clock, registration
from worker.web.database import Database
from worker.web.parameters import BODY_SECONDS
from worker.web.refusal import LATER, SOON, Refusal

log = structlog.get_logger()

LARGEST_NOTICE: Final = 64 * 1024
LARGEST_PROOF: Final = 4096
PIECE: Final = 16 * 1024
PER_SECOND: Final = 50.0
BURST: Final = 500.0


class Notices:
    """Takes notices in."""

    def __init__(self, settings: Settings, reads: Database, asked: Database, vault: Vault) -> None:
        self._settings = settings
        self._reads = reads
        self._asked = asked
        self._vault = vault
        self._left = BURST
        self._filled_at: timedelta | None = None

    async def take(self, request: web.Request) -> web.Response:
        """Take one in: 204, whether or not it will prove right."""
        self._count()
        name = request.match_info["client"]
        client_id, rules = await self._rules(name, request.method)
        proof = {header: request.headers[header] for header in map(header_of, rules) if request.headers.get(header)}
        if not proof or any(len(value) > LARGEST_PROOF for value in proof.values()):
            raise Refusal(401, "no_proof", "No proof came with this notice", "send it as the provider file says")
        came = Came(request.method, {header.lower(): value for header, value in proof.items()}, await _body(request))
        notice_id = uuid4()
        sealed = self._vault.seal(came.written(), table="notices", row_id=notice_id, purpose="notice")
        if not await self._asked.run(lambda connection: notice.keep(connection, notice_id, client_id, sealed)):
            raise Refusal(429, "too_many_notices", "Too many notices wait", "send it again", retry_after=LATER)
        log.info("web.notice", client=name)
        return web.Response(status=204)

    async def _rules(self, name: str, method: str) -> tuple[int, list[Notice]]:
        """The client and its rules for this method; whether there is such a client is told to nobody.

        Raises:
            Refusal: it has none.

        """
        unknown = Refusal(404, "no_notices", "No notices are taken here", "see `notices` in the client's provider file")
        if "\x00" in name or not name.isprintable():
            raise unknown
        found = await self._reads.run(lambda connection: notice.client(connection, name))
        if found is None:
            raise unknown
        client_id, provider, overrides = found
        try:
            rules = registration.resolve(provider, overrides, self._settings).notices
        except OAuthError as error:
            log.error("web.provider_file", client=name, reason=str(error))  # noqa: TRY400  # it says it all
            raise unknown from None
        fitting = [rule for rule in rules if rule.method == method]
        if not fitting:
            raise unknown
        return client_id, fitting

    def _count(self) -> None:
        """Count one request of all clients together.

        Raises:
            Refusal: it is one too many for now.

        """
        now = clock.boot()
        passed = timedelta(0) if self._filled_at is None else now - self._filled_at
        self._left = min(BURST, self._left + passed.total_seconds() * PER_SECOND)
        self._filled_at = now
        if self._left < 1:
            raise Refusal(429, "too_many_notices", "Too many notices come", "send it again", retry_after=SOON)
        self._left -= 1


async def _body(request: web.Request) -> bytes:
    """The body, whatever it is.

    Raises:
        Refusal: it is too slow.
        HTTPRequestEntityTooLarge: it is too large.

    """
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while piece := await request.content.read(PIECE):
                body += piece
                if len(body) > LARGEST_NOTICE:
                    raise web.HTTPRequestEntityTooLarge(LARGEST_NOTICE, len(body))
    except TimeoutError:
        raise Refusal(408, "too_slow", f"The body did not come within {BODY_SECONDS:g} s", "send it at once") from None
    return bytes(body)
