"""Locked grants: the rows of a group, locked in order and read, and who of them somebody else has locked."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from models.predicates import A_JOURNAL_IS_UNDRAINED, REJECTION_IS_REPORTED
from models.rows import made_of


class LockedGrant(NamedTuple):
    """A locked grant row, as far as settling needs it."""

    grant_id: UUID
    client_id: int
    ref: str
    status: str
    generation: int
    claim_no: int
    refresh_fingerprint: bytes | None
    former_fingerprints: list[bytes]
    scope: str | None
    life: timedelta | None
    access_expires_at: datetime | None
    refresh_expires_at: datetime | None
    consent_expires_at: datetime | None
    created_at: datetime
    refreshed_at: datetime | None
    keep: str
    rotation: str
    grace: timedelta | None
    doubt_since: datetime | None
    journals_undrained: bool
    suspect_at: datetime | None
    failures: int
    attempts: int  # that ended without a token set since the last one
    failing_since: datetime | None
    failing_for: timedelta
    untried_former_tokens: int
    access_rejected: bool
    has_letter: bool  # an open dead letter of its refreshes
    refusals: int  # in one word that nobody understands, since its last success
    refused_since: datetime | None
    refused_code: str | None
    client_refused_since: datetime | None  # set: nobody of its client has succeeded since somebody was refused so
    witness_at: datetime | None  # start of the client's last refresh that succeeded
    credentials_proven: bool  # something has succeeded under the client's present ones
    was_well: bool  # its last request succeeded
    at: datetime
    spent_refused_at: datetime | None = None
    drift: dict[str, Any] | None = None  # of its client
    drift_watch: dict[str, Any] | None = None
    last_error_code: str | None = None  # its last request ended so, and then
    last_error_at: datetime | None = None


# A stranger's lock must not hold up the answers of other grants for as long as a transaction waits else. The time is
# set in the same statement: all that is joined is read before the first row is locked.
LOCK = text("""
with impatient as materialized (
    select set_config('lock_timeout', coalesce(cast(:wait as text), current_setting('lock_timeout')), true)
)
select g.id from impatient cross join evergrant.grants g
where g.id = any (cast(:ids as uuid[]))
order by g.id
for no key update of g
""")

# Those of whom nobody else holds the row nor the valve now: to find out who does, none is waited for.
FREE = text("""
with impatient as materialized (select set_config('lock_timeout', :wait, true))
select g.id from impatient cross join evergrant.grants g
join evergrant.valves v on v.client_id = g.client_id
where g.id = any (cast(:ids as uuid[]))
order by g.id
for no key update of g, v skip locked
""")
HERE = text("select id from evergrant.grants where id = any (cast(:ids as uuid[]))")

# Only once the rows are ours: a statement that had to wait for a lock sees other tables as they were before it waited.
READ = text(f"""
select g.id as grant_id, g.client_id, g.ref, g.status, g.generation, g.claim_no, g.refresh_fingerprint,
    former.fingerprints as former_fingerprints,
    g.scope, g.life, g.access_expires_at, g.refresh_expires_at, g.consent_expires_at, g.created_at, g.refreshed_at,
    coalesce(g.keep, c.keep) as keep, c.rotation, c.grace, g.doubt_since,
    {A_JOURNAL_IS_UNDRAINED} as journals_undrained,
    g.suspect_at, g.failures, g.attempts, g.failing_since, g.failing_for,
    former.untried as untried_former_tokens,
    g.rejected_at is not null or {REJECTION_IS_REPORTED} as access_rejected,
    exists (
        select from evergrant.dead_letters d
        where d.grant_id = g.id and d.kind = 'refresh' and d.resolved_at is null
    ) as has_letter,
    case when refused.still then g.refusals else 0 end as refusals,
    case when refused.still then g.refused_since end as refused_since, g.refused_code,
    -- Forgotten whenever a valve opens, but by the release before.
    case when v.paused_until is not null or v.changed_at is null or w.refused_since > v.changed_at
        then w.refused_since end as client_refused_since, w.witness_at,
    coalesce(v.credentials_proven_no = c.credentials_no, false) as credentials_proven,
    g.refreshed_at is not null and g.last_error_at is null as was_well,
    coalesce(:now, clock_timestamp()) as at,
    g.spent_refused_at, c.drift, c.drift_watch,
    g.last_error_code, g.last_error_at
from evergrant.grants g
join evergrant.clients c on c.id = g.client_id
join evergrant.valves v on v.client_id = g.client_id
left join evergrant.witnesses w on w.client_id = g.client_id
-- A success by a worker of the release before leaves the columns as they were.
cross join lateral (select g.refused_since > coalesce(g.refreshed_at, '-infinity') as still) refused
cross join lateral (
    select coalesce(array_agg(t.refresh_fingerprint), '{{}}') as fingerprints,
        count(*) filter (where t.tried_at is null and t.known_dead_at is null) as untried
    from evergrant.former_tokens t where t.grant_id = g.id
) former
where g.id = any (cast(:ids as uuid[]))
""")  # noqa: S608  # constants


def lock(
    connection: Connection, ids: Sequence[UUID], *, wait: timedelta | None = None, now: datetime | None = None
) -> dict[UUID, LockedGrant]:
    """Lock the rows in the order of their ids (two groups cannot wait for each other) and read them.

    `wait`: for any one lock from now on in this transaction; None: as long as every transaction does.
    """
    limit = None if wait is None else f"{wait.total_seconds() * 1000:.0f}ms"
    in_order = sorted(set(ids), key=attrgetter("int"))  # as they compare themselves, without a call for each two
    connection.execute(LOCK, {"ids": in_order, "wait": limit})
    rows = made_of(connection.execute(READ, {"ids": in_order, "now": now}), LockedGrant)
    return {row.grant_id: row for row in rows}


def locked(connection: Connection, ids: Sequence[UUID], *, wait: timedelta) -> set[UUID]:
    """Those of these grants whose row, or whose client's valve, somebody else has locked now.

    `wait`: for the whole tables. A row that is not there is nobody's.
    """
    limit = f"{wait.total_seconds() * 1000:.0f}ms"
    free = set(connection.execute(FREE, {"ids": sorted(set(ids)), "wait": limit}).scalars())
    return set(connection.execute(HERE, {"ids": list(ids)}).scalars()) - free
