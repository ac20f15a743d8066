"""Drift: what answers have shown against a client's profile, and what its profile becomes by that."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from models.rows import made_of


class DriftingClient(NamedTuple):
    """A locked client, as far as drift needs it."""

    id: int
    name: str
    provider: str
    overrides: dict[str, Any]
    rotation: str
    drift: dict[str, Any] | None
    drift_watch: dict[str, Any] | None
    at: datetime


class Tightened(NamedTuple):
    """What a stricter profile makes of a client's columns; `grace` is over."""

    rotation: str
    burst: int
    attempt_lease: timedelta


# Before its valve is locked, as an operator's change locks them.
LOCK = text("""
select c.id, c.name, c.provider, c.overrides, c.rotation, c.drift, c.drift_watch,
    coalesce(:now, clock_timestamp()) as at
from evergrant.clients c where c.id = :id
for no key update
""")

WATCH = text("""
update evergrant.clients set drift_watch = cast(:watch as jsonb) where id = :id
""")

# Workers and beats read the row anew where it has changed.
NOTE = text("""
update evergrant.clients c set
    drift = coalesce(c.drift, '{}') || cast(:drift as jsonb),
    drift_watch = cast(:watch as jsonb),
    overrides = c.overrides || cast(:overrides as jsonb),
    rotation = coalesce(cast(:rotation as text), c.rotation),
    burst = coalesce(cast(:burst as integer), c.burst),
    attempt_lease = coalesce(cast(:attempt_lease as interval), c.attempt_lease),
    grace = case when cast(:rotation as text) is null then c.grace end,
    after_grace = case when cast(:rotation as text) is null then c.after_grace end,
    updated_at = coalesce(:now, clock_timestamp())
where c.id = :id
""")

# Of those that were refreshed no more are counted than a hundred for each that died.
OTHERS = text("""
select dead.died, (
    select count(*) from (
        select from evergrant.grants a
        where a.client_id = :id and a.refreshed_at > clock.since and a.id <> all (cast(:but as uuid[]))
        limit 100 * dead.died + :least
    ) alive
) as refreshed
from (select coalesce(:now, clock_timestamp()) - interval '1 day' as since) clock
cross join lateral (
    select (
        select count(*) from evergrant.grants g
        where g.client_id = :id and g.status = 'active' and g.suspect_at is not null
            and g.id <> all (cast(:but as uuid[]))
    ) + (
        select count(*) from evergrant.dead_letters d
        where d.client_id = :id and d.kind = 'refresh' and d.dead_at > clock.since
            and d.grant_id <> all (cast(:but as uuid[]))
    ) as died
) dead
""")


def lock(connection: Connection, client_id: int, *, now: datetime | None = None) -> DriftingClient | None:
    """Lock a client and read what is known of its drift."""
    found = made_of(connection.execute(LOCK, {"id": client_id, "now": now}), DriftingClient)
    return found[0] if found else None


def watch(connection: Connection, client_id: int, watched: dict[str, Any] | None) -> None:
    """Write what is watched, and proves nothing yet."""
    connection.execute(WATCH, {"id": client_id, "watch": _json(watched)})


def note(
    connection: Connection,
    client_id: int,
    found: dict[str, Any],
    *,
    watched: dict[str, Any] | None,
    tightened: Tightened | None,
    now: datetime | None = None,
) -> None:
    """Keep the evidence, and tighten the profile where that is so, in one statement."""
    columns = tightened or Tightened(None, None, None)  # type: ignore[arg-type]
    parameters = {
        **columns._asdict(),
        "id": client_id,
        "drift": json.dumps(found),
        "watch": _json(watched),
        "overrides": json.dumps({} if tightened is None else {"rotation": tightened.rotation}),
        "now": now,
    }
    connection.execute(NOTE, parameters)


def others(
    connection: Connection, client_id: int, *, but: Sequence[UUID], least: int, now: datetime | None = None
) -> tuple[int, int]:
    """How many other grants died in the last day, and how many were refreshed, as far as that is of interest."""
    row = connection.execute(OTHERS, {"id": client_id, "but": list(but), "least": least, "now": now}).one()
    return row.died, row.refreshed


def _json(value: dict[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value)
