"""Fleets of any size, written straight into the tables, as `grants import` would have left them hours ago."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from random import randbytes, random
from typing import Literal
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.rows import scalar_row

from bench.contestants.contestant import ref_of
from bench.provider import access_token, refresh_token
from bench.stage import Stage
from models.sealing.vault import KeyRing, Vault
from settings import current

LIFE = timedelta(hours=2)
INDEXES_AFTERWARDS = 200_000
PORTION = 250_000

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

    def portion(first: int) -> None:
        numbers = {"first": first + 1, "last": min(first + PORTION, count)}
        stage.sql(FILL, {**heads, **numbers, "first_due": first_due, "life": life})

    with (
        _indexes_afterwards(stage) if count > INDEXES_AFTERWARDS else nullcontext(),
        ThreadPoolExecutor(os.cpu_count()) as portions,
    ):
        list(portions.map(portion, range(0, count, PORTION)))
    stage.sql("vacuum (freeze, analyze) evergrant.grants")


@contextmanager
def _indexes_afterwards(stage: Stage) -> Iterator[None]:
    """Make the indexes once the rows are there: packed, as after a reindex, and in minutes instead of an hour."""
    with psycopg.connect(stage.database_url, autocommit=True, row_factory=scalar_row) as connection:
        connection.execute("set maintenance_work_mem = '1GB'")
        found = connection.execute(
            """
            select array[indexrelid::regclass::text, pg_get_indexdef(indexrelid)]
            from pg_index where indrelid = 'evergrant.grants'::regclass and not indisprimary
            """
        ).fetchall()
        for name, _ in found:
            connection.execute(sql.SQL("drop index {}").format(sql.SQL(name)))
        yield
        for _, definition in found:
            connection.execute(definition)


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


# Of the first one's provider, and as it is in all else.
MORE_CLIENTS = """
insert into evergrant.clients overriding system value
select (jsonb_populate_record(c, jsonb_build_object('id', c.id + i, 'name', c.name || '-' || i))).*
from evergrant.clients c, generate_series(1, %s::int) i
returning id
"""


def more_clients(stage: Stage, count: int) -> None:
    """Make `count` clients beside the only one there is, each with its own secret and valve."""
    vault = Vault.from_settings(current())
    with psycopg.connect(stage.database_url, row_factory=scalar_row) as connection, connection.cursor() as cursor:
        made = cursor.execute(MORE_CLIENTS, [count]).fetchall()
        sealed = [(vault.seal("secret", table="clients", row_id=each, purpose="secret"), each) for each in made]
        cursor.executemany("update evergrant.clients set sealed_client_secret = %s where id = %s", sealed)
        cursor.executemany("insert into evergrant.valves (client_id) values (%s)", [(each,) for each in made])
    stage.sql("vacuum (freeze, analyze) evergrant.clients, evergrant.valves")


COPY = """
copy evergrant.grants (
    id, client_id, ref, status, generation, scope, sealed_refresh_token, sealed_access_token, refresh_fingerprint,
    access_expires_at, life, due_at, claim_no, refreshed_at, refreshed_credentials_no
) from stdin
"""


def fill_openable(
    stage: Stage, count: int, *, first_due: timedelta, opens: Callable[[int, timedelta], bool] = lambda *_: True
) -> None:
    """The same with tokens that open, for a fleet that is to be refreshed or read.

    Sealing is what takes long, so `opens` tells by its index, and by how soon it is due, whether a grant's tokens will
    ever be opened; the others are as long.
    """
    vault, now = Vault.from_settings(current()), datetime.now(UTC)
    heads = {ring: _head(getattr(vault, ring)) for ring in ("refresh", "access")}
    sealed_bytes = len(vault.seal(refresh_token(0, 0), table="grants", row_id=uuid4(), purpose="refresh"))

    def sealed(token: str, grant_id: UUID, purpose: Literal["refresh", "access"], *, opened: bool) -> bytes:
        if opened:
            return vault.seal(token, table="grants", row_id=grant_id, purpose=purpose)
        return heads[purpose] + randbytes(sealed_bytes - len(heads[purpose]))

    with (
        _indexes_afterwards(stage) if count > INDEXES_AFTERWARDS else nullcontext(),
        psycopg.connect(stage.database_url) as connection,
        connection.cursor() as cursor,
    ):
        clients = [row[0] for row in cursor.execute("select id from evergrant.clients order by id")]
        with cursor.copy(COPY) as copy:
            for index in range(count):
                grant_id, token, until = uuid4(), refresh_token(index, 0), first_due + random() * LIFE * 2 / 3
                opened, due_at = opens(index, until), now + until
                refresh = sealed(token, grant_id, "refresh", opened=opened)
                access = sealed(access_token(index, 0), grant_id, "access", opened=opened)
                row = (grant_id, clients[index % len(clients)], ref_of(index), "active", 1, "crm_read", refresh, access)
                times = (due_at + LIFE / 3, LIFE, due_at, 3, due_at - LIFE * 2 / 3, 1)
                copy.write_row((*row, vault.fingerprint(token) if opened else randbytes(32), *times))
    stage.sql("vacuum (freeze, analyze) evergrant.grants")


def insert_refs(stage: Stage, client: str, refs: Sequence[str]) -> None:
    """Import grants of the light provider that is named as the client is, paused, each with its first refresh token."""
    rows = ({"ref": ref, "refresh_token": refresh_token(index, 0, client)} for index, ref in enumerate(refs))
    stage.command("grants", "import", "-", "--client", client, "--paused", stdin="\n".join(map(json.dumps, rows)))
