"""Tickets for applications: the link by which their customer connects, or connects again, in a browser."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

import structlog
from sqlalchemy import Connection, RowMapping

from models import public_listener, ticket
from models.application import Holder
from models.application_requests import AMBIGUOUS_REF, UNKNOWN_REF
from models.public_listener import NoPublicListener
from models.states.installation import DatabaseState
from models.ticket import TicketRefused, TooManyTickets, Wanted
from settings import Settings
from tasks.oauth.errors import OAuthError
from tasks.oauth.shapes import Kind
from tasks.runtime import registration
from worker.web.database import Database
from worker.web.refusal import LATER, Refusal, ambiguous_ref, database_unfit, provider_file, unknown_client
from worker.web.turns import Turns

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Link:
    """A link as it is handed out, once; `url` opens it."""

    id: UUID
    url: str = field(repr=False)
    client: str
    expires_at: datetime


class Tickets:
    """Makes them for one application at a time, at clients whose grants it sees."""

    def __init__(self, settings: Settings, asked: Database) -> None:
        self._settings = settings
        self._asked = asked
        self._turns = Turns()

    async def make(self, holder: Holder, wanted: Wanted) -> Link:
        """Make a ticket.

        Raises:
            Refusal: it is not clear at which client, nobody could be sent there or back, or there are too many.

        """
        if not holder.may_see(wanted.client):
            raise unknown_client(wanted.client)
        async with self._turns.of(holder.id):
            return await self._asked.run(lambda connection: self._made(connection, holder, wanted))

    def _made(self, connection: Connection, holder: Holder, wanted: Wanted) -> Link:
        clients = None if holder.clients is None else sorted(holder.clients)
        environment = self._settings.environment
        places = ticket.places(connection, wanted.ref, wanted.client, clients=clients, environment=environment)
        place = _the_one(places, wanted)
        _refuse_unfit(place)
        self._refuse_without_user(place)
        told = _served(connection)
        try:
            made = ticket.request(connection, replace(wanted, client=place["client"]), application=holder.name)
        except TicketRefused as error:
            raise _refused(error, wanted) from None
        ticket_id, expires_at = ticket.made(connection, made)
        return Link(
            ticket_id,
            f"{self._settings.public_url or told}/connect/{made}",
            place["client"],
            expires_at.astimezone(UTC),
        )

    def _refuse_without_user(self, place: RowMapping) -> None:
        try:
            provider = registration.resolve(place["provider"], dict(place["overrides"]), self._settings)
        except OAuthError as error:
            log.error("web.provider_file", client=place["client"], reason=str(error))  # noqa: TRY400
            raise provider_file(place["client"]) from None
        if provider.kind is Kind.CLIENT_CREDENTIALS:
            raise Refusal(
                409,
                "no_user",
                f"Grants of {place['client']} have no user who could be sent anywhere",
                "have an operator run `evergrant grants connect`, which asks at once",
                client=place["client"],
            )


def _the_one(places: Sequence[RowMapping], wanted: Wanted) -> RowMapping:
    if not places:
        raise unknown_client(wanted.client)
    if len(places) > 1:
        raise ambiguous_ref(wanted.ref, [each["client"] for each in places], could="could be of")
    return places[0]


def _refuse_unfit(place: RowMapping) -> None:
    if place["database_state"] in (DatabaseState.COPIED, DatabaseState.NOT_ADOPTED):
        raise database_unfit()


def _served(connection: Connection) -> str:
    try:
        return public_listener.served(connection)
    except NoPublicListener as error:
        step = "have an operator start `evergrant web` with EVERGRANT_PUBLIC_BIND and EVERGRANT_PUBLIC_URL"
        raise Refusal(503, "no_public_listener", str(error), step, retry_after=LATER) from None


def _refused(error: TicketRefused, wanted: Wanted) -> Refusal:
    """What SQL says of a ticket; a client may have gone since it was found."""
    said, next_step = str(error).rstrip("."), error.next
    if isinstance(error, TooManyTickets):
        return Refusal(429, "too_many_tickets", said, next_step, retry_after=LATER)
    if error.state == UNKNOWN_REF:
        return unknown_client(wanted.client)
    if error.state == AMBIGUOUS_REF:
        return ambiguous_ref(wanted.ref, could="could be of")
    return Refusal(400, "ticket_refused", said, next_step)
