"""Bulk import: grants by the thousand, copied into a table of the transaction, then made by one statement.

As the arrays of a statement a row cost 18 µs here; copied, it costs 2. The statement that makes the rows writes
their events and notices, too.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from models.predicates import END_IS_ASKED_FOR, IS_LIVING


class Incoming(NamedTuple):
    """A row as it is copied in; tokens are sealed already, for the row of that id."""

    id: UUID
    ref: str
    status: str
    labels: str  # JSON
    scope: str | None
    sealed_refresh_token: bytes
    sealed_access_token: bytes | None
    refresh_fingerprint: bytes
    access_expires_at: datetime | None
    life: timedelta
    due_at: datetime | None  # null: now
    ever_in_doubt: bool
    refresh_expires_at: datetime | None = None
    consent_expires_at: datetime | None = None

    def __repr__(self) -> str:
        return f"Incoming({self.ref!r}, id={self.id})"


KINDS = {
    "id": "uuid",
    "ref": "text",
    "status": "text",
    "labels": "jsonb",
    "scope": "text",
    "sealed_refresh_token": "bytea",
    "sealed_access_token": "bytea",
    "refresh_fingerprint": "bytea",
    "access_expires_at": "timestamptz",
    "life": "interval",
    "due_at": "timestamptz",
    "ever_in_doubt": "boolean",
    "refresh_expires_at": "timestamptz",
    "consent_expires_at": "timestamptz",
}

TABLE = text(
    "create temporary table incoming (" + ", ".join(f"{name} {kind}" for name, kind in KINDS.items()) + ")"
    " on commit drop"
)
COPY = f"copy pg_temp.incoming ({', '.join(Incoming._fields)}) from stdin"

# In order of the refs: two imports of the same grants then wait for each other, and never in a circle.
MAKE = text("""
with made as (
    insert into evergrant.grants (id, client_id, ref, status, generation, labels, scope, sealed_refresh_token,
        sealed_access_token, refresh_fingerprint, access_expires_at, life, due_at, ever_in_doubt,
        refresh_expires_at, consent_expires_at)
    select id, :client_id, ref, status, 1, labels, scope, sealed_refresh_token, sealed_access_token,
        refresh_fingerprint, access_expires_at, life, coalesce(due_at, clock_timestamp()), ever_in_doubt,
        refresh_expires_at, consent_expires_at
    from pg_temp.incoming
    order by ref collate "C"
    on conflict do nothing
    returning id, client_id, ref, generation, labels
), told as (
    insert into evergrant.events (type, occurred_at, client_id, grant_id, ref, generation, labels, actor)
    select 'grant.imported', clock_timestamp(), client_id, id, ref, generation, labels, :actor from made
)
select count(pg_notify('evergrant_token_set', id::text)) from made
""")

# The pair that makes room may live: it is a branch of its own from now on, and dies with the grant.
KEEP_REPLACED = text(f"""
insert into evergrant.former_tokens
    (grant_id, kind, generation, sealed_refresh_token, sealed_access_token, refresh_fingerprint, access_expires_at)
select g.id, 'surplus', g.generation - 1, g.sealed_refresh_token, g.sealed_access_token, g.refresh_fingerprint,
    g.access_expires_at
from evergrant.grants g
join pg_temp.incoming new on new.id = g.id
where g.sealed_refresh_token is not null and g.refresh_fingerprint <> new.refresh_fingerprint
    and not {END_IS_ASKED_FOR}
on conflict do nothing
""")  # noqa: S608  # constants

# A set from outside takes the place of the one held. Whoever asks under the old claim has lost it.
OVERWRITE = text(f"""
with changed as (
    update evergrant.grants g set
        generation = g.generation + 1, status = new.status, reason = null,
        sealed_refresh_token = new.sealed_refresh_token, sealed_access_token = new.sealed_access_token,
        refresh_fingerprint = new.refresh_fingerprint, access_expires_at = new.access_expires_at, life = new.life,
        refresh_expires_at = new.refresh_expires_at,
        consent_expires_at = coalesce(new.consent_expires_at, g.consent_expires_at),
        older_access_ends_at = greatest(g.older_access_ends_at, g.access_expires_at),
        scope = coalesce(new.scope, g.scope), labels = case new.labels when '{{}}' then g.labels else new.labels end,
        due_at = coalesce(new.due_at, clock_timestamp()), claim_no = g.claim_no + 1, claimed_at = null,
        started_at = null, journal_id = null,
        ever_in_doubt = g.ever_in_doubt or g.doubt_since is not null or new.ever_in_doubt,
        doubt_since = null, doubt_journals = '{{}}', doubt_repeated = false, suspect_at = null,
        failures = 0, attempts = 0, failing_since = null, failing_for = '0', refusals = 0, refused_since = null,
        refused_code = null, last_error_code = null, last_error_http_status = null, last_error_at = null,
        last_error_rule = null, last_error_shape = null,
        rejected_at = null, refreshed_at = null, refreshed_credentials_no = null, spent_refused_at = null
    from pg_temp.incoming new
    where g.id = new.id and not {END_IS_ASKED_FOR}
    returning g.id, g.client_id, g.ref, g.generation, g.labels
), told as (
    insert into evergrant.events (type, occurred_at, client_id, grant_id, ref, generation, labels, actor)
    select 'grant.replaced', clock_timestamp(), client_id, id, ref, generation, labels, :actor from changed
)
select count(pg_notify('evergrant_token_set', id::text)) from changed
""")  # noqa: S608  # constants

# `offset 0` keeps the planner to the index: by its guess it would rather read the whole table for a few thousand refs.
PRESENT = text(f"""
select g.ref, g.id from unnest(cast(:refs as text[])) as given (ref)
cross join lateral (
    select g.ref, g.id from evergrant.grants g
    where g.client_id = :client_id and g.ref = given.ref and {IS_LIVING}
    offset 0
) g
""")  # noqa: S608  # constants


def present(connection: Connection, client_id: int, refs: Sequence[str]) -> dict[str, UUID]:
    """The rows that hold these refs now, by ref; they are not locked."""
    found = connection.execute(PRESENT, {"client_id": client_id, "refs": list(refs)})
    return {row.ref: row.id for row in found}


def copy(connection: Connection, rows: Sequence[Incoming]) -> None:
    """Copy rows into a table of this transaction, for `overwrite` and `make`; once a transaction."""
    connection.execute(TABLE)
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101  # it executed the statement above
    with driver.cursor() as cursor, cursor.copy(COPY) as written:
        for row in rows:
            written.write_row(row)


def overwrite(connection: Connection, *, actor: str) -> int:
    """Put what was copied in the place of what rows of the same ids hold, with events; returns how many changed."""
    connection.execute(KEEP_REPLACED)
    return int(connection.execute(OVERWRITE, {"actor": actor}).scalar_one())


def make(connection: Connection, client_id: int, *, actor: str) -> int:
    """Make rows of what was copied, with events; returns how many: not those whose id or ref is there."""
    return int(connection.execute(MAKE, {"client_id": client_id, "actor": actor}).scalar_one())
