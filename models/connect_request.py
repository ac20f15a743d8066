"""Connect requests: state and PKCE of a code flow that was begun and not yet ended."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class ConnectRequest(Base):
    """One trip of a user to the provider, for one ref (RFC 6749 §4.1)."""

    __tablename__ = "connect_requests"
    __table_args__ = (Index(None, "expires_at", postgresql_where=text("used_at is null")),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    client_id: Mapped[int] = mapped_column(ForeignKey("evergrant.clients.id"))
    ref: Mapped[str]
    state_hash: Mapped[bytes] = mapped_column(unique=True)
    sealed_verifier: Mapped[bytes]
    redirect_uri: Mapped[str]
    scopes: Mapped[list[str]]
    labels: Mapped[dict[str, list[str]]]
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


@dataclass(frozen=True, slots=True)
class Begun:
    """A code flow under way; `grant_id` is the id that a new row will have."""

    grant_id: UUID
    client_id: int
    ref: str
    sealed_verifier: bytes = field(repr=False)
    redirect_uri: str
    labels: dict[str, list[str]]
    expired: bool
    used: bool
    by_ticket: bool = False  # by the public listener, which sealed the verifier as it can
    other_account_allowed: bool = True


BEGIN = text("""
insert into evergrant.connect_requests
    (id, client_id, ref, state_hash, sealed_verifier, redirect_uri, scopes, labels, created_by, expires_at)
values (:id, :client_id, :ref, :state_hash, :sealed_verifier, :redirect_uri, cast(:scopes as text[]),
    cast(:labels as jsonb), :who, clock_timestamp() + :lives)
""")
_BEGUN = """
select r.id as grant_id, r.client_id, r.ref, r.sealed_verifier, r.redirect_uri, r.labels,
    r.expires_at <= clock_timestamp() as expired, r.used_at is not null as used, v.id is not null as by_ticket,
    coalesce(t.other_account_allowed, true) as other_account_allowed
from evergrant.connect_requests r
left join evergrant.visits v on v.id = r.id
left join evergrant.tickets t on t.id = v.ticket_id
"""
FIND = text(f"{_BEGUN} where r.state_hash = :state_hash")
OF_VISITS = text(f"{_BEGUN} where r.id = any (cast(:ids as uuid[]))")

IS_SOMEBODY_AWAY = text("""
select exists (select from evergrant.connect_requests where used_at is null and expires_at > clock_timestamp())
""")

# Committed before the code is sent: whatever happens then, it is not sent a second time.
USE = text("""
update evergrant.connect_requests set used_at = clock_timestamp()
where id = any (cast(:ids as uuid[])) and used_at is null returning id, used_at
""")
OTHER_ACCOUNT_ALLOWED = text("""
select t.other_account_allowed from evergrant.visits v join evergrant.tickets t on t.id = v.ticket_id where v.id = :id
""")
GIVE_BACK = text("update evergrant.connect_requests set used_at = null where id = :id")


@dataclass(frozen=True, slots=True)
class Beginning:
    """A code flow that begins; the state itself is only in the URL."""

    grant_id: UUID
    client_id: int
    ref: str
    state_hash: bytes
    sealed_verifier: bytes = field(repr=False)
    redirect_uri: str
    scopes: Sequence[str]
    labels: Mapping[str, Sequence[str]]
    lives: timedelta
    who: str


def begin(connection: Connection, beginning: Sequence[Beginning]) -> None:
    """Remember code flows that begin."""
    connection.execute(BEGIN, [_row(each) for each in beginning])


def _row(beginning: Beginning) -> dict[str, Any]:
    labels = {key: list(values) for key, values in beginning.labels.items()}
    return {
        "id": beginning.grant_id,
        "client_id": beginning.client_id,
        "ref": beginning.ref,
        "state_hash": beginning.state_hash,
        "sealed_verifier": beginning.sealed_verifier,
        "redirect_uri": beginning.redirect_uri,
        "scopes": list(beginning.scopes),
        "labels": json.dumps(labels),
        "lives": beginning.lives,
        "who": beginning.who,
    }


def find(connection: Connection, state_hash: bytes) -> Begun | None:
    """The code flow that a state belongs to."""
    row = connection.execute(FIND, {"state_hash": state_hash}).mappings().one_or_none()
    return Begun(**row) if row else None


def of_visits(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, Begun]:
    """The code flow of each of these visits, which has its id."""
    rows = connection.execute(OF_VISITS, {"ids": list(ids)}).mappings()
    return {row["grant_id"]: Begun(**row) for row in rows}


def is_somebody_away(connection: Connection) -> bool:
    """Whether somebody is at a provider now, or has come back and waits."""
    return bool(connection.execute(IS_SOMEBODY_AWAY).scalar())


def use(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, datetime]:
    """Take the one use of each of these code flows; returns the database's time of those not used before."""
    return {row.id: row.used_at for row in connection.execute(USE, {"ids": list(ids)})}


def give_back(connection: Connection, grant_id: UUID) -> None:
    """Allow another try: the code provably was not sent."""
    connection.execute(GIVE_BACK, {"id": grant_id})


def other_account_allowed(connection: Connection, grant_id: UUID) -> bool:
    """Whether another account than before may take the ref: only a ticket may say no."""
    return connection.execute(OTHER_ACCOUNT_ALLOWED, {"id": grant_id}).scalar() is not False
