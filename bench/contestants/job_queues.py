"""procrastinate and pgqueuer doing the naive job's refresh as an asyncio job a token, on PostgreSQL alone.

What each of the two needs is in a module of its own; here is the refresh that both carry out: take the row's lock,
ask over one aiohttp session, store. Their scan is a job, too, as the naive job's is.
"""

from typing import Any

import aiohttp
import psycopg
from psycopg_pool import AsyncConnectionPool

from bench.contestants.contestant import Contestant, ref_of
from bench.provider import refresh_token

TABLES = """
drop schema if exists jobs cascade;
create schema jobs;
create table jobs.tokens (
    ref text primary key, access_token text, refresh_token text not null, expires_at timestamptz not null
);
"""
SOON = "expires_at < clock_timestamp() + interval '10 minutes'"
CONCURRENCY = 100
"""Jobs at once: more than the connections of a worker's pool, so that none of those is idle."""


class JobQueue(Contestant):
    """A job queue on PostgreSQL whose worker is a module of this package."""

    module: str
    part: str

    def prepare(self) -> None:
        with psycopg.connect(self.stage.database_url) as connection, connection.cursor() as cursor:
            cursor.execute(TABLES)
            with cursor.copy("copy jobs.tokens (ref, refresh_token, expires_at) from stdin") as copy:
                for index in range(self.count):
                    copy.write_row((ref_of(index), refresh_token(index, 0), "infinity"))
        self._run("install")

    def start(self) -> None:
        self.stage.python(self.part, self.module, "work", self.stage.database_url, self.provider.url)
        self.stage.wait_said(self.part, "ready")

    def make_due(self) -> None:
        self.stage.sql("update jobs.tokens set expires_at = clock_timestamp()")
        # Not their own tables: those are empty now, and known to be so they would be read as a whole for each job.
        self.stage.sql("vacuum analyze jobs.tokens")

    def begin(self) -> None:
        self._run("scan")

    def _run(self, what: str) -> None:
        running = self.stage.python(what, self.module, what, self.stage.database_url, self.provider.url)
        if not running.wait(120) or running.exit_code:
            raise RuntimeError(self.stage.tail(what))

    def stored(self) -> int:
        rows = self.stage.sql("select count(*) as n from jobs.tokens where expires_at > clock_timestamp() + '1 hour'")
        return int(rows[0]["n"])

    def tokens(self) -> dict[int, str]:
        return {int(row["ref"][-7:]): row["refresh_token"] for row in self.stage.sql("select * from jobs.tokens")}

    def parts(self) -> dict[str, list[int]]:
        return {"workers": self.stage.pids(self.part)}


class Refresher:
    """What a job does, with the pool and the session of its worker."""

    def __init__(self, database_url: str, provider_url: str) -> None:
        self.pool = AsyncConnectionPool(database_url, min_size=4, max_size=60, open=False)
        self.provider_url = provider_url
        self.session: aiohttp.ClientSession

    async def open(self) -> None:
        """Connect."""
        await self.pool.open(wait=True)
        connector = aiohttp.TCPConnector(limit=0)
        self.session = aiohttp.ClientSession(self.provider_url, connector=connector, trust_env=False)

    async def close(self) -> None:
        """Let go."""
        await self.session.close()
        await self.pool.close()

    async def due(self) -> list[str]:
        """The refs that expire soon."""
        async with self.pool.connection() as connection:
            found = await connection.execute(f"select ref from jobs.tokens where {SOON}")
            return [ref for (ref,) in await found.fetchall()]

    async def refresh(self, ref: str) -> None:
        """Refresh one token, unless another job is at it or has done it."""
        async with self.pool.connection() as connection:
            query = f"select refresh_token from jobs.tokens where ref = %s and {SOON} for update skip locked"
            row = await (await connection.execute(query, [ref])).fetchone()
            if row is None:
                return
            answer = await self._ask(row[0])
            await connection.execute(
                "update jobs.tokens set access_token = %s, refresh_token = %s,"
                " expires_at = clock_timestamp() + %s * interval '1 second' where ref = %s",
                [answer["access_token"], answer["refresh_token"], answer["expires_in"], ref],
            )

    async def _ask(self, token: str) -> dict[str, Any]:
        ids = {"client_id": "bench", "client_secret": "secret"}
        body = {"grant_type": "refresh_token", "refresh_token": token, **ids}
        async with self.session.post("/oauth/token", json=body) as answer:
            answer.raise_for_status()
            found: dict[str, Any] = await answer.json()
            return found
