"""Tickets: each lets one browser connect one ref through the public listener, once, within 15 minutes.

Made by SQL functions, whoever asks: the rules stand there. The ticket is nowhere but in its link; here is a hash.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

from sqlalchemy import Connection, ForeignKey, Index, RowMapping, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Mapped, mapped_column

from models.application_requests import AMBIGUOUS_REF, NAME_APPLICATION, UNKNOWN_REF
from models.base import Base
from models.errors import Told, UnknownTicket


class Ticket(Base):
    """One ticket, and which browser has used it."""

    __tablename__ = "tickets"
    __table_args__ = (
        Index(None, "client_id", "ref", "created_at"),
        Index(None, "counted_as", "created_at"),
        Index(None, "expires_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    ticket_hash: Mapped[bytes] = mapped_column(unique=True)
    client_id: Mapped[int] = mapped_column(ForeignKey("evergrant.clients.id"))
    ref: Mapped[str]
    labels: Mapped[dict[str, Any]] = mapped_column(JSONB)
    scopes: Mapped[list[str]]
    return_to: Mapped[str | None]
    locale: Mapped[str | None]
    other_account_allowed: Mapped[bool]
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    counted_as: Mapped[str]
    expires_at: Mapped[datetime]
    browser_hash: Mapped[bytes | None]
    used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    revoked_by: Mapped[str | None]


class TicketRefused(Told):
    """{message}."""

    error = "ticket_refused"
    next = "{hint}"

    def __init__(self, state: str, message: str, hint: str | None) -> None:
        super().__init__(
            message=message[:1].upper() + message[1:], hint=(hint or "correct what was said").removesuffix(".")
        )
        self.state = state


class TooManyTickets(TicketRefused):
    """{message}."""  # a limit: the same may be asked for again later

    error = "too_many_tickets"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a ticket is to say: where the customer connects, as whom, and where they go afterwards."""

    ref: str
    client: str | None = None
    return_to: str | None = None
    labels: Mapping[str, str | Sequence[str]] | None = None
    scopes: Sequence[str] = ()
    locale: str | None = None


# What the functions raise of what they were given: unknown, ambiguous, unfit, too long, too many.
TOO_MANY = "54000"
REFUSED = frozenset({UNKNOWN_REF, AMBIGUOUS_REF, "22023", "22001", TOO_MANY})

REQUEST = text("""
select evergrant.request_connect(ref => :ref, client => :client, return_to => :return_to,
    labels => cast(:labels as jsonb), scopes => cast(:scopes as text[]), locale => :locale)
""")
MAKE = text("""
select evergrant.make_ticket(client_id => :client_id, ref => :ref, return_to => :return_to,
    labels => cast(:labels as jsonb), scopes => cast(:scopes as text[]), locale => :locale,
    other_account_allowed => :other_account_allowed, who => :who)
""")
MADE = text("select id, expires_at from evergrant.tickets where ticket_hash = :ticket_hash")
# Where a ref may be connected, those that have it first; `database_state` stands in each.
PLACES = text("""
select c.name as client, c.provider, c.overrides,
    exists (select from evergrant.grants g where g.client_id = c.id and g.ref = :ref) as has_ref,
    evergrant.database_state(cast(:environment as text)) as database_state
from evergrant.clients c
where (cast(:client as text) is null or c.name = :client)
    and (cast(:clients as text[]) is null or c.name = any (cast(:clients as text[])))
order by has_ref desc, c.name
""")
# By the index of tickets: a look a client.
ASKED_FOR = text("""
select c.name, c.provider, c.overrides from evergrant.clients c
where exists (select from evergrant.tickets t where t.client_id = c.id)
order by c.name
""")
USE = text("""
update evergrant.tickets t set used_at = coalesce(t.used_at, clock_timestamp()), browser_hash = came.browser_hash
from unnest(cast(:ids as uuid[]), cast(:browser_hashes as bytea[])) as came (id, browser_hash)
where t.id = came.id and t.revoked_at is null and t.expires_at > clock_timestamp()
    and (t.used_at is null or t.browser_hash = came.browser_hash)
returning t.id, t.browser_hash
""")
REVOKE = text("""
update evergrant.tickets
set revoked_at = coalesce(revoked_at, clock_timestamp()), revoked_by = coalesce(revoked_by, :who)
where id = any (cast(:ids as uuid[])) returning id
""")


def request(connection: Connection, wanted: Wanted, *, application: str) -> str:
    """Make a ticket for an application that asked over HTTP; returns it.

    Raises:
        TicketRefused: the ref is ambiguous, the client unknown, or users may not be sent there.
        TooManyTickets: of this ref, or of this asker.

    """
    connection.execute(NAME_APPLICATION, {"application": application})
    return _made(connection, REQUEST, wanted, client=wanted.client)


def make(connection: Connection, client_id: int, wanted: Wanted, *, other_account_allowed: bool, who: str) -> str:
    """Make a ticket for an operator; raises as `request`."""
    more = {"client_id": client_id, "other_account_allowed": other_account_allowed, "who": who}
    return _made(connection, MAKE, wanted, **more)


def asked_at(ref: str, client: str) -> str:
    """Where an application asks for a link for this customer: a path of the token interface, for a `POST`."""
    return f"/v1/grants/{quote(ref, safe='')}/connect?{urlencode({'client': client})}"


def made(connection: Connection, ticket: str) -> tuple[UUID, datetime]:
    """Which ticket was just made, and until when it is good."""
    row = connection.execute(MADE, {"ticket_hash": hashed(ticket)}).one()
    return row.id, row.expires_at


def places(
    connection: Connection, ref: str, client: str | None, *, clients: Sequence[str] | None, environment: str | None
) -> Sequence[RowMapping]:
    """The clients at which a ref may be connected: those that have it, else all; of `clients` alone, where given."""
    wanted = {"ref": ref, "client": client, "clients": clients, "environment": environment}
    found = connection.execute(PLACES, wanted).mappings().all()
    return [each for each in found if each["has_ref"]] or found


def clients_asked_for(connection: Connection) -> Sequence[RowMapping]:
    """The clients of which a link was made within the last week, and of which provider each is; by name."""
    return connection.execute(ASKED_FOR).mappings().all()


def hashed(secret: str) -> bytes:
    """What is kept of a ticket, a cookie or a state."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


def use(connection: Connection, came: Sequence[tuple[UUID, bytes]]) -> set[tuple[UUID, bytes]]:
    """Let browsers use tickets; returns those that may: no others have ended, or are another browser's."""
    ids, browsers = [each for each, _ in came], [browser for _, browser in came]
    used = connection.execute(USE, {"ids": ids, "browser_hashes": browsers})
    return {(row.id, bytes(row.browser_hash)) for row in used}


def revoke(connection: Connection, ids: Sequence[UUID], *, who: str) -> None:
    """Take tickets back; one that is back already stays so.

    Raises:
        UnknownTicket: one of them is none; nothing was changed once the caller rolls back.

    """
    found = set(connection.execute(REVOKE, {"ids": list(ids), "who": who}).scalars())
    if missing := [each for each in ids if each not in found]:
        raise UnknownTicket(missing[0])


def _made(connection: Connection, query: Any, wanted: Wanted, **more: Any) -> str:
    given = {
        "ref": wanted.ref,
        "return_to": wanted.return_to,
        "labels": None if wanted.labels is None else json.dumps(dict(wanted.labels)),
        "scopes": list(wanted.scopes),
        "locale": wanted.locale,
    }
    try:
        return str(connection.execute(query, given | more).scalar_one())
    except DBAPIError as error:
        diagnosis = getattr(error.orig, "diag", None)
        if diagnosis is None or diagnosis.sqlstate not in REFUSED:
            raise
        kind = TooManyTickets if diagnosis.sqlstate == TOO_MANY else TicketRefused
        raise kind(diagnosis.sqlstate, diagnosis.message_primary, diagnosis.message_hint) from None
