"""Guests: how whoever stands at the public listener gets on, a short transaction for each step."""

import hmac
from collections.abc import Sequence
from functools import partial
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import Connection

from models import ticket as tickets
from models import visit
from models.sealing.vault import Vault
from models.visit import Guest
from settings import Settings
from tasks import connect, visits
from tasks.connect import Callback
from tasks.oauth.errors import OAuthError
from tasks.oauth.provider import Provider
from tasks.visits import Leaving
from worker.web.database import Batch, Database
from worker.web.public.ends import Ends

log = structlog.get_logger()

LONGEST_TICKET: Final = 100


class Guests:
    """What the listener asks of the database."""

    def __init__(self, settings: Settings, database: Database, vault: Vault, *, redirect_uri: str) -> None:
        self._settings = settings
        self._database = database
        self._vault = vault
        self._redirect_uri = redirect_uri
        self._of_ticket = Batch(database, visit.by_tickets)
        self._of_state = Batch(database, visit.by_states)
        self._of_visit = Batch(database, visit.by_ids)
        self._begin: Batch[Leaving, str | Exception | None] = Batch(database, self._begun)
        self._come_back = Batch(database, visits.come_back)
        self._ends = Ends(database)

    async def with_ticket(self, ticket: str) -> Guest | None:
        """Who came by a link."""
        if len(ticket) > LONGEST_TICKET:
            return None
        return await self._of_ticket(tickets.hashed(ticket))

    async def with_state(self, state: str) -> Guest | None:
        """Who came back from a provider."""
        return await self._of_state(tickets.hashed(state))

    async def of_visit(self, visit_id: UUID) -> Guest | None:
        """Whose visit it is."""
        return await self._of_visit(visit_id)

    async def begin(self, guest: Guest, browser: str) -> str | None:
        """Use the ticket in a browser; returns where that goes, None where the ticket is no longer good.

        Raises:
            OAuthError, ConnectError: nobody can be sent there; the ticket is as good as before.

        """
        found = await self._begin(Leaving(guest, self.provider(guest), tickets.hashed(browser)))
        if isinstance(found, Exception):
            raise found
        return found

    def _begun(self, connection: Connection, leaving: Sequence[Leaving]) -> dict[Leaving, str | Exception | None]:
        environment = self._settings.environment
        return visits.begin(connection, self._vault, leaving, redirect_uri=self._redirect_uri, environment=environment)

    async def come_back(self, guest: Guest, query: str) -> None:
        """Keep what a browser brought.

        Raises:
            NoCallback: it holds nothing that can be read.
            AnotherIssuer: another server than the client's sent it.

        """
        provider, visit_id = self.provider(guest), guest.visit_id
        assert visit_id is not None  # noqa: S101  # it was found by its state
        callback = self._read(query, provider)
        if callback.code is None:
            await self._database.run(partial(visits.refused, visit_id=visit_id, callback=callback))
        else:
            await self._come_back((visit_id, visits.sealed(self._vault, visit_id, query)))

    async def wait(self, visit_id: UUID, seconds: float) -> None:
        """Wait for a visit's end, for so long at most."""
        await self._ends.wait(visit_id, seconds)

    def provider(self, guest: Guest) -> Provider:
        """The provider of a guest's client; raises OAuthError."""
        return visits.provider_of(guest, self._settings)

    def provider_name(self, guest: Guest) -> str:
        """What the provider is called."""
        try:
            return self.provider(guest).title or guest.provider
        except OAuthError:
            return guest.provider

    def _read(self, query: str, provider: Provider) -> Callback:
        callback = connect.read_callback(f"?{query}", code_parameter=provider.code_parameter)
        connect.expect_issuer(callback, provider)
        return callback


def is_of(guest: Guest, browser: str | None) -> bool:
    """Whether it was this browser that used the ticket."""
    if browser is None or guest.browser_hash is None:
        return False
    return hmac.compare_digest(bytes(guest.browser_hash), tickets.hashed(browser))
