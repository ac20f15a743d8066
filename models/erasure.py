"""Erasures: once a grant is dead nothing stays of whom it belonged to, but its id, its status and its fingerprints.

A request is a row of its own and is only ever inserted, so an application's open transaction keeps no revocation
waiting.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models import event
from models.base import Base
from models.states.event import EventType


class Erasure(Base):
    """A request to forget a grant, and when it was carried out."""

    __tablename__ = "erasures"
    __table_args__ = (Index("ix_erasures_open", "requested_at", postgresql_where=text("erased_at is null")),)

    grant_id: Mapped[UUID] = mapped_column(ForeignKey("evergrant.grants.id"), primary_key=True)
    requested_at: Mapped[datetime]
    requested_by: Mapped[str]
    erased_at: Mapped[datetime | None]


# An earlier consent of the same ref names the same customer.
REQUEST = text("""
insert into evergrant.erasures (grant_id, requested_by)
select g.id, :who from evergrant.grants held
join evergrant.grants g on g.client_id = held.client_id and g.ref = held.ref
where held.id = :grant_id
on conflict do nothing
""")

READY = text("""
select e.grant_id from evergrant.erasures e
join evergrant.grants g on g.id = e.grant_id
where e.erased_at is null and g.status = 'revoked'
order by e.grant_id
limit :most
for no key update of e, g skip locked
""")

# In this order: the requests are found by the ref that the row still has.
FORGET_REF = [
    text(statement)
    for statement in (
        """delete from evergrant.connect_requests q using evergrant.grants g, evergrant.erasures e
            where g.id = any (:ids) and e.grant_id = g.id and q.client_id = g.client_id and q.ref = g.ref
                and q.created_at <= e.requested_at""",
        """delete from evergrant.tickets q using evergrant.grants g, evergrant.erasures e
            where g.id = any (:ids) and e.grant_id = g.id and q.client_id = g.client_id and q.ref = g.ref
                and q.created_at <= e.requested_at""",
        "delete from evergrant.grant_accounts where id = any (:ids)",
        "delete from evergrant.refresh_requests where grant_id = any (:ids)",
        """update evergrant.revocations set ref = 'erased-' || grant_id, reason = null, idempotency_key = null
            where grant_id = any (:ids)""",
        "update evergrant.dead_letters set ref = 'erased-' || grant_id, detail = null where grant_id = any (:ids)",
        "select evergrant.forget_events(:ids)",  # nobody but the owner may change one
        """update evergrant.grants set ref = 'erased-' || id, labels = '{}', reason = null where id = any (:ids)""",
        "update evergrant.erasures set erased_at = clock_timestamp() where grant_id = any (:ids)",
        "delete from evergrant.asked_labels where grant_id = any (:ids)",
        "delete from evergrant.held_revocations where grant_id = any (:ids)",
    )
]

# By then no journal can bring back a pair that would have to be recognised.
FORGET_FINGERPRINTS = text("""
with old as (
    delete from evergrant.erasures where erased_at < clock_timestamp() - cast(:kept as interval) returning grant_id
),
former as (
    delete from evergrant.former_tokens t using old where t.grant_id = old.grant_id and t.sealed_refresh_token = ''
)
update evergrant.grants g set refresh_fingerprint = null
from old where g.id = old.grant_id and g.status = 'revoked'
""")

ERASED = text("""
select g.id from evergrant.grants g
where g.id = any (:ids) and not exists (
    select from evergrant.erasures e where e.grant_id = g.id and e.erased_at is null
)
""")


def request(connection: Connection, grant_id: UUID, *, who: str) -> None:
    """Ask that a grant, and every earlier one of its ref, be forgotten once it is dead."""
    connection.execute(REQUEST, {"grant_id": grant_id, "who": who})


def ready(connection: Connection, *, most: int) -> list[UUID]:
    """Lock grants that are dead and to be forgotten."""
    return list(connection.execute(READY, {"most": most}).scalars())


def erase(connection: Connection, ids: Sequence[UUID], *, who: str) -> None:
    """Forget whom these grants belonged to: their ref, their labels, and every text that was given with a request."""
    for statement in FORGET_REF:
        connection.execute(statement, {"ids": list(ids)})
    event.of_grants(connection, ids, EventType.GRANT_ERASED, actor=who)


def forget_fingerprints(connection: Connection, *, kept: timedelta) -> None:
    """Forget the fingerprints, too, of what was erased so long ago."""
    connection.execute(FORGET_FINGERPRINTS, {"kept": kept})


def erased(connection: Connection, ids: Sequence[UUID]) -> set[UUID]:
    """Those of these grants for which no request is open."""
    return set(connection.execute(ERASED, {"ids": list(ids)}).scalars())
