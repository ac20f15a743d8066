"""Events, as `evergrant events` and webhooks tell them, in their order."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

SLACK = timedelta(minutes=1)  # events are numbered when they are written, not when they are committed
STEPS = 64

EVENTS = """
select e.id, e.type, e.occurred_at, i.environment, c.name as client, e.ref, e.generation, e.labels, e.reason, e.data,
    e.actor
from evergrant.events e
left join evergrant.clients c on c.id = e.client_id
cross join evergrant.installation i
where e.id > :after
    and (cast(:types as text[]) is null or e.type = any (cast(:types as text[])))
    and (cast(:since as timestamptz) is null or e.occurred_at >= :since)
    and (cast(:grant_ids as uuid[]) is null or e.grant_id = any (cast(:grant_ids as uuid[])))
    and (cast(:client_id as bigint) is null or e.client_id = :client_id)"""
FROM_THE_FIRST = text(f"{EVENTS} order by e.id limit :most")
FROM_THE_LAST = text(f"{EVENTS} order by e.id desc limit :most")
ENDS = text("""
select (select min(id) from evergrant.events) as first, (select max(id) from evergrant.events) as last
""")
NEXT = text("select id, occurred_at from evergrant.events where id >= :id order by id limit 1")
GRANTS = text("""
select g.id from evergrant.grants g
where g.ref = :ref and (cast(:client_id as bigint) is null or g.client_id = :client_id)
""")


def grants_of(connection: Connection, ref: str, client_id: int | None) -> list[UUID]:
    """Every grant that a ref has had."""
    return list(connection.execute(GRANTS, {"ref": ref, "client_id": client_id}).scalars())


def last_id(connection: Connection) -> int:
    """The greatest number that an event has."""
    return connection.execute(ENDS).one().last or 0


def before(connection: Connection, at: datetime) -> int:
    """A number below those of all events since a time: found by halves, for there is no index of times."""
    ends = connection.execute(ENDS).one()
    if ends.first is None:
        return 0
    low, high = ends.first, ends.last + 1
    for _ in range(STEPS):
        if low >= high:
            break
        middle = (low + high) // 2
        found = connection.execute(NEXT, {"id": middle}).one_or_none()
        if found is not None and found.occurred_at < at - SLACK:
            low = found.id + 1
        else:
            high = middle
    return int(low - 1)


def events(
    connection: Connection,
    *,
    after: int = 0,
    since: datetime | None = None,
    types: Sequence[str] | None = None,
    grant_ids: Sequence[UUID] | None = None,
    client_id: int | None = None,
    most: int,
    newest: bool = False,
) -> list[RowMapping]:
    """Events numbered above `after`, in their order: the first `most` of them, or the `newest`."""
    wanted: dict[str, Any] = {"after": after, "since": since, "types": types, "client_id": client_id, "most": most}
    wanted["grant_ids"] = None if grant_ids is None else list(grant_ids)
    found = connection.execute(FROM_THE_LAST if newest else FROM_THE_FIRST, wanted).mappings().all()
    return list(reversed(found)) if newest else list(found)
