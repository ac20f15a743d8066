"""The practical ceiling: the same refreshes in one asyncio process that knows nothing else.

Batch claims, batch writes, sealed tokens; no Celery, no broker, no journal, no log, no valve, no doubt.

    python -m bench.contestants.ceiling DATABASE_URL PROVIDER_URL
"""

import asyncio
import os
import sys
from typing import Any

import aiohttp
import psycopg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.contestants.contestant import Contestant, ref_of
from bench.provider import refresh_token

IN_FLIGHT = 1000
CLAIM = 500
GROUP = 200
KEY = bytes(32)

TABLES = """
drop schema if exists ceiling cascade;
create schema ceiling;
create table ceiling.gate (open boolean not null);
insert into ceiling.gate values (false);
create table ceiling.tokens (
    ref text primary key, sealed_refresh bytea not null, sealed_access bytea, due_at timestamptz not null,
    expires_at timestamptz
) with (fillfactor = 85);
create index on ceiling.tokens (due_at);
"""
CLAIM_DUE = """
with due as (
    select ref from ceiling.tokens where due_at <= clock_timestamp() and (select open from ceiling.gate)
    order by due_at limit %s for no key update skip locked
)
update ceiling.tokens t set due_at = clock_timestamp() + interval '1 minute' from due where t.ref = due.ref
returning t.ref, t.sealed_refresh
"""
STORE = """
update ceiling.tokens t set sealed_refresh = new.refresh, sealed_access = new.access,
    expires_at = clock_timestamp() + new.life, due_at = clock_timestamp() + new.life * 2 / 3
from unnest(%s::text[], %s::bytea[], %s::bytea[], %s::interval[]) as new (ref, refresh, access, life)
where t.ref = new.ref
"""


class Ceiling(Contestant):
    """One asyncio process."""

    name = "asyncio, no Celery"

    def prepare(self) -> None:
        with psycopg.connect(self.stage.database_url) as connection, connection.cursor() as cursor:
            cursor.execute(TABLES)
            with cursor.copy("copy ceiling.tokens (ref, sealed_refresh, due_at) from stdin") as copy:
                for index in range(self.count):
                    copy.write_row((ref_of(index), seal(refresh_token(index, 0)), "infinity"))

    def start(self) -> None:
        self.stage.python("ceiling", "bench.contestants.ceiling", self.stage.database_url, self.provider.url)
        self.stage.wait_said("ceiling", "ready")

    def make_due(self) -> None:
        self.stage.sql("update ceiling.gate set open = false")
        self.stage.sql("update ceiling.tokens set due_at = clock_timestamp()")
        self.stage.sql("vacuum analyze ceiling.tokens")

    def begin(self) -> None:
        self.stage.sql("update ceiling.gate set open = true")

    def stored(self) -> int:
        rows = self.stage.sql("select count(*) as n from ceiling.tokens where due_at > clock_timestamp() + '1 hour'")
        return int(rows[0]["n"])

    def tokens(self) -> dict[int, str]:
        rows = self.stage.sql("select ref, sealed_refresh from ceiling.tokens")
        return {int(row["ref"][-7:]): unseal(row["sealed_refresh"]) for row in rows}

    def parts(self) -> dict[str, list[int]]:
        return {"workers": self.stage.pids("ceiling")}


def seal(text: str) -> bytes:
    """Encrypt under one key for all."""
    nonce = os.urandom(12)
    return nonce + AESGCM(KEY).encrypt(nonce, text.encode(), None)


def unseal(sealed: bytes) -> str:
    """Decrypt what `seal` made."""
    return AESGCM(KEY).decrypt(sealed[:12], sealed[12:], None).decode()


Arrived = asyncio.Queue[tuple[str, dict[str, Any]]]


async def work(database_url: str, provider_url: str) -> None:
    """Claim, ask and write, for ever."""
    arrived: Arrived = asyncio.Queue()
    room = asyncio.Semaphore(IN_FLIGHT)
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(provider_url, connector=connector, trust_env=False) as session,
        await psycopg.AsyncConnection.connect(database_url, autocommit=True) as claiming,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(write(database_url, arrived, room))
        print("ready", flush=True)
        while True:
            claimed = await (await claiming.execute(CLAIM_DUE, [CLAIM])).fetchall()
            for ref, sealed in claimed:
                await room.acquire()
                tasks.create_task(ask(session, ref, sealed, arrived))
            if len(claimed) < CLAIM:
                await asyncio.sleep(0.05)


async def ask(session: aiohttp.ClientSession, ref: str, sealed: bytes, arrived: Arrived) -> None:
    """Send one request."""
    body = {
        "grant_type": "refresh_token",
        "refresh_token": unseal(sealed),
        "client_id": "bench",
        "client_secret": "secret",
    }
    async with session.post("/oauth/token", json=body) as answer:
        answer.raise_for_status()
        arrived.put_nowait((ref, await answer.json()))


async def write(database_url: str, arrived: Arrived, room: asyncio.Semaphore) -> None:
    """Store what has arrived, up to a group in one statement and commit."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        while True:
            group = [await arrived.get()]
            while len(group) < GROUP and not arrived.empty():
                group.append(arrived.get_nowait())
            columns = zip(
                *(
                    (ref, seal(answer["refresh_token"]), seal(answer["access_token"]), f"{answer['expires_in']} s")
                    for ref, answer in group
                ),
                strict=True,
            )
            await connection.execute(STORE, [list(column) for column in columns])
            for _ in group:
                room.release()


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:]))
