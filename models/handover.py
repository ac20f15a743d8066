"""Handover: grants leave for another home, and never do two homes refresh the same one.

They are paused first, with the reason `handed_over`: from that commit on none is claimed or started here. What is under
way then is waited for, for its answer may hold a newer pair.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from models import event
from models.predicates import END_IS_ASKED_FOR, IS_UNDRAINED
from models.states.event import EventType

PAUSE = text(f"""
with mine as (
    select g.id, g.status = 'active' as was_active from evergrant.grants g
    where g.client_id = :client_id and g.status in ('active', 'paused') and g.sealed_refresh_token is not null
        and not {END_IS_ASKED_FOR}
    order by g.id
    for no key update of g
)
update evergrant.grants g set status = 'paused', reason = 'handed_over'
from mine where g.id = mine.id
returning g.id, mine.was_active
""")  # noqa: S608  # constants

# An attempt under a live lease, or a journal that nobody has read to its end and that may hold its answer.
UNSETTLED = f"""
    (g.started_at is not null and g.due_at > clock_timestamp() or exists (
        select from evergrant.journals j
        where {IS_UNDRAINED} and (
            g.doubt_since is not null and j.id = any (g.doubt_journals)
            or g.started_at is not null and j.id = g.journal_id
        )
    ))"""

COUNT_UNSETTLED = text(f"""
select count(*) from evergrant.grants g
where g.id = any (cast(:ids as uuid[])) and g.status = 'paused' and {UNSETTLED}
""")  # noqa: S608  # constants

READY = text(f"""
select g.id, g.ref, g.generation, g.sealed_refresh_token, g.sealed_access_token, g.access_expires_at, g.life, g.scope,
    g.labels, g.refresh_expires_at, g.consent_expires_at,
    g.ever_in_doubt or g.predecessors_dropped or g.doubt_since is not null or g.started_at is not null or exists (
        select from evergrant.former_tokens t where t.grant_id = g.id and t.known_dead_at is null
    ) as in_doubt
from evergrant.grants g
where g.id = any (cast(:ids as uuid[])) and g.status = 'paused' and not {UNSETTLED}
order by g.ref
for no key update of g
""")  # noqa: S608  # constants

TAKE_BACK = text("""
update evergrant.grants g
set status = case when g.id = any (cast(:active as uuid[])) then 'active' else 'paused' end, reason = null
where g.id = any (cast(:ids as uuid[])) and g.status = 'paused' and g.reason = 'handed_over'
returning g.ref
""")

CLIENTS = text("""
select distinct c.name from evergrant.clients c
join evergrant.grants g on g.client_id = c.id and g.status in ('active', 'paused')
order by c.name
""")


@dataclass(frozen=True, slots=True)
class Leaving:
    """A grant that may leave; `in_doubt`: pairs of it may live that only this home knows of, or nobody."""

    id: UUID
    ref: str
    generation: int
    sealed_refresh_token: bytes = field(repr=False)
    sealed_access_token: bytes | None = field(repr=False)
    access_expires_at: datetime | None
    life: timedelta | None
    scope: str | None
    labels: dict[str, list[str]]
    refresh_expires_at: datetime | None
    consent_expires_at: datetime | None
    in_doubt: bool


def clients(connection: Connection) -> list[str]:
    """The clients that have something to hand over."""
    return list(connection.execute(CLIENTS).scalars())


def pause(connection: Connection, client_id: int) -> dict[UUID, bool]:
    """Pause all that a client can hand over; returns of each whether it was active."""
    return {row.id: row.was_active for row in connection.execute(PAUSE, {"client_id": client_id})}


def unsettled(connection: Connection, ids: Sequence[UUID]) -> int:
    """How many of them may still get a newer pair."""
    return int(connection.execute(COUNT_UNSETTLED, {"ids": list(ids)}).scalar_one())


def ready(connection: Connection, ids: Sequence[UUID]) -> Iterator[Leaving]:
    """Lock and read those that may leave, by ref."""
    return (Leaving(**row) for row in connection.execute(READY, {"ids": list(ids)}).mappings())


def note(connection: Connection, ids: Sequence[UUID], *, who: str) -> None:
    """Record that they have left."""
    event.of_grants(connection, ids, EventType.GRANT_HANDED_OVER, actor=who)


def take_back(connection: Connection, ids: Sequence[UUID], *, active: Sequence[UUID]) -> list[str]:
    """Let those that could not leave be as they were; returns their refs."""
    return sorted(connection.execute(TAKE_BACK, {"ids": list(ids), "active": list(active)}).scalars())
