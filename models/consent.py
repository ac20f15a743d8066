"""Consents: grants that come in, by a code flow or an import, and the row that a new consent replaces.

A new consent for a ref is a new row whose generation goes on from the old one's; the old row is on its way to
the end from then on. Storing a refresh is models/token_set.py.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from models.predicates import IS_LIVING
from models.states.revocation import RevocationStatus
from models.token_set import notify


@dataclass(frozen=True, slots=True)
class NewGrant:
    """A row to be made; tokens are sealed already."""

    id: UUID
    ref: str
    status: str
    generation: int
    labels: dict[str, list[str]]
    keep: str | None
    scope: str | None
    sealed_refresh_token: bytes = field(repr=False)
    sealed_access_token: bytes | None = field(repr=False)
    refresh_fingerprint: bytes
    access_expires_at: datetime | None
    life: timedelta | None
    due_at: datetime | None  # null: now
    refreshed_at: datetime | None
    credentials_no: int | None
    created_at: datetime | None = None  # null: now
    refresh_expires_at: datetime | None = None
    consent_expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Holder:
    """A grant that holds a pair."""

    fingerprint: bytes
    grant_id: UUID
    ref: str
    client: str
    client_id: int


@dataclass(frozen=True, slots=True)
class LiveRow:
    """The row that holds a ref now; locked."""

    id: UUID
    ref: str
    status: str
    generation: int
    labels: dict[str, list[str]]
    keep: str | None
    refresh_fingerprint: bytes | None
    created_at: datetime


INSERT = text("""
insert into evergrant.grants (id, client_id, ref, status, generation, labels, keep, scope, sealed_refresh_token,
    sealed_access_token, refresh_fingerprint, access_expires_at, life, due_at, refreshed_at, asked_at,
    refreshed_credentials_no, created_at, refresh_expires_at, consent_expires_at)
select id, :client_id, ref, status, generation, cast(labels as jsonb), keep, scope, sealed_refresh_token,
    sealed_access_token, refresh_fingerprint, access_expires_at, life, coalesce(due_at, clock_timestamp()),
    refreshed_at, refreshed_at, credentials_no, coalesce(created_at, clock_timestamp()),
    refresh_expires_at, consent_expires_at
from unnest(
    cast(:id as uuid[]), cast(:ref as text[]), cast(:status as text[]), cast(:generation as bigint[]),
    cast(:labels as text[]), cast(:keep as text[]), cast(:scope as text[]),
    cast(:sealed_refresh_token as bytea[]), cast(:sealed_access_token as bytea[]),
    cast(:refresh_fingerprint as bytea[]), cast(:access_expires_at as timestamptz[]),
    cast(:life as interval[]), cast(:due_at as timestamptz[]), cast(:refresh_expires_at as timestamptz[]),
    cast(:consent_expires_at as timestamptz[]), cast(:refreshed_at as timestamptz[]),
    cast(:credentials_no as integer[]), cast(:created_at as timestamptz[])
) as new (id, ref, status, generation, labels, keep, scope, sealed_refresh_token, sealed_access_token,
    refresh_fingerprint, access_expires_at, life, due_at, refresh_expires_at, consent_expires_at, refreshed_at,
    credentials_no, created_at)
on conflict do nothing
returning id
""")

HOLDERS = text("""
select f.fingerprint, g.id as grant_id, g.ref, c.name as client, g.client_id
from unnest(cast(:fingerprints as bytea[])) as f (fingerprint)
cross join lateral (
    select * from evergrant.grants g
    where g.refresh_fingerprint = f.fingerprint and g.status <> 'revoked'
    offset 0  -- by its guess the planner would rather read the whole table for a few thousand fingerprints
) g
join evergrant.clients c on c.id = g.client_id
""")

LIVE = text(f"""
select g.id, g.ref, g.status, g.generation, g.labels, g.keep, g.refresh_fingerprint, g.created_at
from evergrant.grants g
where g.client_id = :client_id and g.ref = any (cast(:refs as text[])) and {IS_LIVING}
order by g.id
for no key update of g
""")  # noqa: S608  # constants

# Where one revocation kills everything that a user ever gave, a new consent would die with the old one.
PENDING = text("""
select r.ref, max(r.id) from evergrant.revocations r
where r.client_id = :client_id and r.ref = any (cast(:refs as text[])) and r.reason is distinct from 'replaced'
    and (
        r.status = 'queued'
        or r.status = 'dead' and exists (
            select from evergrant.dead_letters d where d.revocation_id = r.id and d.resolved_at is null)
    )
group by r.ref
""")

EXISTING = text("select id from evergrant.grants where id = any (cast(:ids as uuid[]))")

RETIRE = text("""
update evergrant.grants set status = 'revoking', claim_no = claim_no + 1, claimed_at = null where id = :id
""")

REPLACE = text("""
insert into evergrant.revocations (client_id, grant_id, ref, reason, status, requested_by)
select client_id, id, ref, 'replaced', :status, :who from evergrant.grants where id = :id
on conflict do nothing
""")


def insert(connection: Connection, client_id: int, grants: Sequence[NewGrant]) -> set[UUID]:
    """Make rows; returns those that were made, not those whose ref or id was there."""
    if not grants:
        return set()
    made = set(connection.execute(INSERT, {"client_id": client_id, **_arrays(grants)}).scalars())
    notify(connection, sorted(made))
    return made


def holders(connection: Connection, fingerprints: Sequence[bytes]) -> list[Holder]:
    """The grants, of any client, that hold one of these pairs and are not revoked."""
    rows = connection.execute(HOLDERS, {"fingerprints": list(fingerprints)}).mappings()
    return [Holder(**row) for row in rows]


def live_rows(connection: Connection, client_id: int, refs: Sequence[str]) -> dict[str, LiveRow]:
    """Lock and read the rows that hold these refs, by ref."""
    rows = connection.execute(LIVE, {"client_id": client_id, "refs": list(refs)}).mappings()
    return {row["ref"]: LiveRow(**row) for row in rows}


def pending_revocations(connection: Connection, client_id: int, refs: Sequence[str]) -> dict[str, int]:
    """The revocations of these refs that were asked for and have not ended, by ref."""
    found = connection.execute(PENDING, {"client_id": client_id, "refs": list(refs)})
    return {ref: int(revocation_id) for ref, revocation_id in found}


def retire(connection: Connection, grant_id: UUID, *, at_once: bool, who: str) -> None:
    """Send a replaced row to its end: at once, or when its successor's end comes."""
    connection.execute(RETIRE, {"id": grant_id})
    status = RevocationStatus.QUEUED if at_once else RevocationStatus.WAITING
    connection.execute(REPLACE, {"id": grant_id, "status": status, "who": who})


def existing(connection: Connection, ids: Sequence[UUID]) -> set[UUID]:
    """Those of these ids of which there is a row."""
    return set(connection.execute(EXISTING, {"ids": list(ids)}).scalars())


def _arrays(grants: Sequence[NewGrant]) -> dict[str, list[Any]]:
    arrays = {each.name: [getattr(grant, each.name) for grant in grants] for each in fields(NewGrant)}
    return arrays | {"labels": [json.dumps(grant.labels) for grant in grants]}
