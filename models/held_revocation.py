"""Held revocations: what one asker wanted beyond the limit, until an operator accepts or discards it.

They stand in a table of their own: whatever asks for an open revocation finds none, so a mistake has stopped nobody.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, ForeignKey, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models import event
from models.base import Base, identity
from models.predicates import IS_STILL_HELD
from models.states.event import EventType


class HeldRevocation(Base):
    """A revocation to be; its id is the revocation's, if it goes on. Only `evergrant.request_revocation` inserts it."""

    __tablename__ = "held_revocations"
    __table_args__ = (
        UniqueConstraint("grant_id", "counted_as", "erase"),
        UniqueConstraint("client_id", "counted_as", "idempotency_key"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    client_id: Mapped[int] = mapped_column(ForeignKey("evergrant.clients.id"))
    grant_id: Mapped[UUID] = mapped_column(ForeignKey("evergrant.grants.id"))
    reason: Mapped[str | None]
    idempotency_key: Mapped[str | None]
    erase: Mapped[bool]
    requested_at: Mapped[datetime]
    requested_by: Mapped[str]
    counted_as: Mapped[str]


class RevocationAsk(Base):
    """That somebody asked for a revocation: what the brake counts."""

    __tablename__ = "revocation_asks"
    __table_args__ = (Index(None, "asked_by", "asked_at", "client_id"),)

    id: Mapped[int] = identity()
    client_id: Mapped[int]
    asked_by: Mapped[str]
    asked_at: Mapped[datetime]
    allowed: Mapped[int | None] = mapped_column(Integer)


@dataclass(frozen=True, slots=True)
class Held:
    """What one asker's limit holds of a client."""

    client: str
    asked_by: str
    count: int
    since: datetime


# From now on it is counted anew: whoever is let through may ask for as many again.
ACCEPT_FROM_NOW = text("""
update evergrant.clients set revocations_accepted_at = clock_timestamp() where id = :client_id
""")

# One revocation a grant, under the id that was told first; asked for from now on, for its grant was refreshed
# meanwhile. Where another revocation has its key, it goes on without.
ACCEPT = text("""
with held as (
    delete from evergrant.held_revocations where client_id = :client_id returning *
),
firsts as (
    select distinct on (h.grant_id) h.* from held h order by h.grant_id, h.id
),
asked as (
    insert into evergrant.revocations (id, client_id, grant_id, ref, reason, idempotency_key, requested_by)
    overriding system value
    select f.id, f.client_id, f.grant_id, g.ref, f.reason,
        case
            when row_number() over (partition by f.idempotency_key order by f.id) = 1 and not exists (
                select from evergrant.revocations r
                where r.client_id = f.client_id and r.idempotency_key = f.idempotency_key
            ) then f.idempotency_key
        end,
        f.requested_by
    from firsts f join evergrant.grants g on g.id = f.grant_id
    on conflict do nothing
    returning id
),
forgotten as (
    insert into evergrant.erasures (grant_id, requested_by)
    select distinct on (g.id) g.id, h.requested_by from held h
    join evergrant.grants a on a.id = h.grant_id
    join evergrant.grants g on g.client_id = a.client_id and g.ref = a.ref
    where h.erase
    on conflict do nothing
)
select count(*) from firsts
""")
DISCARD = text("""
with held as (
    delete from evergrant.held_revocations where client_id = :client_id returning grant_id
)
select count(distinct grant_id) from held
""")

HELD = text(f"""
select c.name as client, h.counted_as as asked_by, count(distinct h.grant_id) as count, min(h.requested_at) as since
from evergrant.held_revocations h
join evergrant.clients c on c.id = h.client_id
where {IS_STILL_HELD}
group by c.name, h.counted_as
order by c.name, since
""")  # noqa: S608  # constants

# An hour is six times what is counted. What was ended by another way needs nobody's decision any more.
FORGET = (
    text("delete from evergrant.revocation_asks where asked_at < clock_timestamp() - interval '1 hour'"),
    text(f"delete from evergrant.held_revocations h where not {IS_STILL_HELD}"),  # noqa: S608  # constants
)


def held(connection: Connection) -> list[Held]:
    """What is held, by client and asker."""
    return [Held(**row) for row in connection.execute(HELD).mappings()]


def is_held(connection: Connection, revocation_id: int) -> bool:
    """Whether the id that `request_revocation` has returned is that of one which is held."""
    query = text("select exists (select from evergrant.held_revocations where id = :id)")
    return bool(connection.execute(query, {"id": revocation_id}).scalar())


def accept(connection: Connection, client_id: int, *, who: str) -> int:
    """Let what is held of a client go on; returns how many grants are revoking by that. Counting begins anew."""
    count = int(connection.execute(ACCEPT, {"client_id": client_id}).scalar_one())
    if count:
        connection.execute(ACCEPT_FROM_NOW, {"client_id": client_id})
        event.of_client(connection, client_id, EventType.REVOCATIONS_ACCEPTED, data={"count": count}, actor=who)
        connection.execute(text("notify evergrant_work"))
    return count


def discard(connection: Connection, client_id: int, *, who: str) -> int:
    """Drop what is held of a client, as if nobody had asked; returns of how many grants."""
    count = int(connection.execute(DISCARD, {"client_id": client_id}).scalar_one())
    if count:
        event.of_client(connection, client_id, EventType.REVOCATIONS_DISCARDED, data={"count": count}, actor=who)
    return count


def forget(connection: Connection) -> None:
    """Forget what is counted no more, and what is held for nothing."""
    for statement in FORGET:
        connection.execute(statement)
