"""Fleets of any size, written straight into the tables, as `grants import` would have left them hours ago."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from random import random
from uuid import uuid4

import psycopg

from bench.contestants.contestant import ref_of
from bench.provider import access_token, refresh_token
from bench.stage import Stage
from models.vault import KeyRing, Vault
from settings import current

LIFE = timedelta(hours=2)

# Sealed tokens name the rings' own keys and are as long as those of 43 characters are; nobody opens them. Due times
# are spread over two thirds of a life (4800 s of two hours), as they are in a fleet that is kept warm.
FILL = """
insert into evergrant.grants (
    id, client_id, ref, status, generation, scope, sealed_refresh_token, sealed_access_token, refresh_fingerprint,
    access_expires_at, life, due_at, claim_no, refreshed_at, refreshed_credentials_no
)
select gen_random_uuid(), c.id, 'customer-' || lpad(i::text, 8, '0'), 'active', 1, 'crm_read',
    %(refresh)s || sha256(i::text::bytea) || sha256(('s' || i)::bytea) || '1234567'::bytea,
    %(access)s || sha256(('a' || i)::bytea) || sha256(('b' || i)::bytea) || '1234567'::bytea,
    sha256(('r' || i)::bytea), at + cast(%(life)s as interval) / 3, %(life)s, at, 3,
    at - cast(%(life)s as interval) * 2 / 3, 1
from evergrant.clients c,
    lateral (
        select i, clock_timestamp() + cast(%(first_due)s as interval)
            + random() * cast(%(life)s as interval) * 2 / 3 as at
        from generate_series(%(first)s::int, %(last)s::int) i
    ) row
"""


def fill(stage: Stage, count: int, *, first_due: str = "1 hour", life: timedelta = LIFE) -> None:
    """Make `count` grants of the only client, and let PostgreSQL know them as well as autovacuum would."""
    heads = {ring: _head(getattr(Vault.from_settings(current()), ring)) for ring in ("refresh", "access")}
    with _indexes_afterwards(stage) if count > 1_000_000 else nullcontext():
        for first in range(0, count, 500_000):
            numbers = {"first": first + 1, "last": min(first + 500_000, count)}
            stage.sql(FILL, {**heads, **numbers, "first_due": first_due, "life": life})
    stage.sql("vacuum (freeze, analyze) evergrant.grants")


@contextmanager
def _indexes_afterwards(stage: Stage) -> Iterator[None]:
    """Make the indexes once the rows are there: packed, as after a reindex, and in minutes instead of an hour."""
    found = stage.sql(
        """
        select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) as definition
        from pg_index where indrelid = 'evergrant.grants'::regclass and not indisprimary
        """
    )
    for index in found:
        stage.sql("drop index " + index["name"])
    yield
    for index in found:
        stage.sql(index["definition"])


def _head(ring: KeyRing) -> bytes:
    """How sealed bytes begin: version, and the key's id with its length."""
    name = ring.active.key_id.encode()
    return bytes((1, len(name))) + name


def sizes(stage: Stage) -> dict[str, float]:
    """MB (10^6 bytes) of the grants' table with its TOAST, and of each index."""
    rows = stage.sql(
        """
        select 'table' as name, pg_table_size('evergrant.grants') / 1e6 as mb
        union all
        select indexrelid::regclass::text, pg_relation_size(indexrelid) / 1e6
        from pg_index where indrelid = 'evergrant.grants'::regclass
        """
    )
    return {str(row["name"]).removeprefix("evergrant."): float(row["mb"]) for row in rows}


COPY = """
copy evergrant.grants (
    id, client_id, ref, status, generation, scope, sealed_refresh_token, sealed_access_token, refresh_fingerprint,
    access_expires_at, life, due_at, claim_no, refreshed_at, refreshed_credentials_no
) from stdin
"""


def fill_openable(stage: Stage, count: int, *, first_due: timedelta) -> None:
    """The same with tokens that open, for a fleet that is to be refreshed; a million takes some two minutes."""
    vault, now = Vault.from_settings(current()), datetime.now(UTC)
    with psycopg.connect(stage.database_url) as connection, connection.cursor() as cursor:
        (client_id,) = cursor.execute("select id from evergrant.clients").fetchone() or (0,)
        with cursor.copy(COPY) as copy:
            for index in range(count):
                grant_id, token = uuid4(), refresh_token(index, 0)
                due_at = now + first_due + random() * LIFE * 2 / 3
                refresh = vault.seal(token, table="grants", row_id=grant_id, purpose="refresh")
                access = vault.seal(access_token(index, 0), table="grants", row_id=grant_id, purpose="access")
                row = (grant_id, client_id, ref_of(index), "active", 1, "crm_read", refresh, access)
                times = (due_at + LIFE / 3, LIFE, due_at, 3, due_at - LIFE * 2 / 3, 1)
                copy.write_row((*row, vault.fingerprint(token), *times))
    stage.sql("vacuum (freeze, analyze) evergrant.grants")


def insert_refs(stage: Stage, client: str, refs: Sequence[str]) -> None:
    """Import grants of the light provider that is named as the client is, paused, each with its first refresh token."""
    rows = ({"ref": ref, "refresh_token": refresh_token(index, 0, client)} for index, ref in enumerate(refs))
    stage.command("grants", "import", "-", "--client", client, "--paused", stdin="\n".join(map(json.dumps, rows)))
