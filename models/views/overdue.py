"""Overdue: what waits too long is told, once, as an event, for nothing waits for ever in silence."""

from sqlalchemy import Connection, text

from models.predicates import IS_UNDRAINED

MOST = 1000  # in one transaction: until its end nothing else is written to these grants

# Once for each token set. The three parts use an index each: what is due, what fails, what is suspect. The grants are
# locked, those left out that somebody has: else its renewal could be told before it is told late.
LATE = text("""
with expired as (
    select g.id from evergrant.grants g
    where g.status = 'active' and g.due_at < clock_timestamp() and g.access_expires_at < clock_timestamp()
    union
    select g.id from evergrant.grants g
    where g.status = 'active' and g.failures > 0 and g.access_expires_at < clock_timestamp()
    union
    select g.id from evergrant.grants g
    where g.status = 'active' and g.suspect_at is not null and g.access_expires_at < clock_timestamp()
)
insert into evergrant.events (type, client_id, grant_id, ref, generation, labels, reason, data)
select 'grant.late', g.client_id, g.id, g.ref, g.generation, g.labels, g.last_error_code,
    jsonb_build_object('access_expired_at', g.access_expires_at, 'failures', g.failures)
from expired join evergrant.grants g using (id)
where g.generation > 0 and g.status = 'active' and g.access_expires_at < clock_timestamp()
    and coalesce(g.keep, (select c.keep from evergrant.clients c where c.id = g.client_id)) = 'warm'
    and not exists (
        select from evergrant.events e
        where e.grant_id = g.id and e.type = 'grant.late' and e.generation = g.generation
    )
limit :most
for no key update of g skip locked
""")

# An answer may lie in a journal that nobody reads: on a machine that is off, or on a disk that is gone.
WAITING = text(f"""
insert into evergrant.events (type, client_id, grant_id, ref, generation, labels, reason, data)
select 'grant.waiting', g.client_id, g.id, g.ref, g.generation, g.labels, 'journal_not_drained',
    jsonb_build_object('journal', j.id, 'host', j.host, 'seen_at', j.seen_at, 'damage', j.damage)
from evergrant.grants g
join evergrant.journals j on j.id = any (g.doubt_journals) and {IS_UNDRAINED}
where g.doubt_since < clock_timestamp() - interval '10 minutes' and g.status in ('active', 'revoking')
    and not exists (
        select from evergrant.events e
        where e.grant_id = g.id and e.type = 'grant.waiting' and e.occurred_at > g.doubt_since
    )
limit :most
for no key update of g skip locked
""")  # noqa: S608  # constants


def tell_late(connection: Connection) -> bool:
    """Tell of grants kept warm whose access token has ended; whether there may be more."""
    return connection.execute(LATE, {"most": MOST}).rowcount >= MOST


def tell_waiting(connection: Connection) -> bool:
    """Tell of grants in doubt that have waited ten minutes for a journal; whether there may be more."""
    return connection.execute(WAITING, {"most": MOST}).rowcount >= MOST
