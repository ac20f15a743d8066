"""Events: the outbox and the history, written in the transaction of the change that they tell of."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Index, text
from sqlalchemy.orm import Mapped

from models.base import Base, identity

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Event(Base):
    """Something that happened to a grant, a revocation or a client."""

    __tablename__ = "events"
    __table_args__ = (Index(None, "grant_id", "id"),)

    id: Mapped[int] = identity()
    type: Mapped[str]
    occurred_at: Mapped[datetime]
    client_id: Mapped[int | None]
    grant_id: Mapped[UUID | None]
    ref: Mapped[str | None]
    generation: Mapped[int | None]
    labels: Mapped[dict[str, Any]]
    reason: Mapped[str | None]
    data: Mapped[dict[str, Any]]
    actor: Mapped[str | None]


OF_GRANTS = text("""
insert into evergrant.events (type, occurred_at, client_id, grant_id, ref, generation, labels, reason, data, actor)
select :type, coalesce(:now, clock_timestamp()), g.client_id, g.id, g.ref, g.generation, g.labels,
    cast(:reason as text), cast(:data as jsonb), cast(:actor as text)
from evergrant.grants g
where g.id = any (cast(:grant_ids as uuid[]))
""")

OF_NOBODY = text("""
insert into evergrant.events (type, data, actor)
values (:type, cast(:data as jsonb), cast(:actor as text))
returning id
""")

OF_CLIENT = text("""
insert into evergrant.events (type, occurred_at, client_id, reason, data, actor)
values (:type, coalesce(:now, clock_timestamp()), :client_id, cast(:reason as text), cast(:data as jsonb),
    cast(:actor as text))
""")


def of_grants(
    connection: Connection,
    grant_ids: Sequence[UUID],
    type_: str,
    *,
    reason: str | None = None,
    data: dict[str, Any] | None = None,
    actor: str | None = None,
    now: datetime | None = None,
) -> None:
    """Record one event of each of these grants, as they are now."""
    if not grant_ids:
        return
    parameters = {"grant_ids": list(grant_ids), "type": type_, "reason": reason, "actor": actor, "now": now}
    connection.execute(OF_GRANTS, {**parameters, "data": json.dumps(data or {})})


def of_client(
    connection: Connection,
    client_id: int,
    type_: str,
    *,
    reason: str | None = None,
    data: dict[str, Any] | None = None,
    actor: str | None = None,
    now: datetime | None = None,
) -> None:
    """Record one event of a client."""
    parameters = {"client_id": client_id, "type": type_, "reason": reason, "actor": actor, "now": now}
    connection.execute(OF_CLIENT, {**parameters, "data": json.dumps(data or {})})


def of_nobody(connection: Connection, type_: str, *, data: dict[str, Any], actor: str) -> int:
    """Record an event that is about no grant and no client; returns its number."""
    wanted = {"type": type_, "data": json.dumps(data), "actor": actor}
    return int(connection.execute(OF_NOBODY, wanted).scalar_one())


def told_id(number: int, occurred_at: datetime) -> str:
    """The id by which an event is told, `evt_`, its number, and when it was, in microseconds.

    The number alone would come back where a copy of the database was restored, and whoever was told of the first one
    would take the second for a repeat.
    """
    return f"evt_{number}_{(occurred_at - _EPOCH) // timedelta(microseconds=1):x}"
