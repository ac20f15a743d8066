"""The refresh as a pgqueuer job.

python -m bench.contestants.pgqueuer_job install|work|scan DATABASE_URL PROVIDER_URL
"""

import asyncio
import sys

import psycopg
from pgqueuer.db import PsycopgDriver
from pgqueuer.models import Job
from pgqueuer.qm import QueueManager
from pgqueuer.queries import Queries

from bench.contestants.job_queues import CONCURRENCY, JobQueue, Refresher


class PgQueuer(JobQueue):
    """A queue manager without a cap: with one of twice the batch it was three times slower."""

    name = f"pgqueuer, batches of {CONCURRENCY}"
    module = "bench.contestants.pgqueuer_job"
    part = "pgqueuer"


async def main(what: str, database_url: str, provider_url: str) -> None:
    """Make the tables, work, or queue the scan."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        queries = Queries(PsycopgDriver(connection))
        match what:
            case "install":
                await queries.install()
            case "scan":
                await queries.enqueue(["scan"], [None], [0])
            case _:
                await work(queries, Refresher(database_url, provider_url))


async def work(queries: Queries, refresher: Refresher) -> None:
    """Carry out jobs for ever."""
    manager = QueueManager(queries)

    @manager.entrypoint("refresh")
    async def refresh(job: Job) -> None:
        assert job.payload is not None
        await refresher.refresh(job.payload.decode())

    @manager.entrypoint("scan")
    async def scan(_: Job) -> None:
        refs = await refresher.due()
        for first in range(0, len(refs), 500):
            some = refs[first : first + 500]
            await queries.enqueue(["refresh"] * len(some), [ref.encode() for ref in some], [0] * len(some))

    await refresher.open()
    print("ready", flush=True)
    await manager.run(batch_size=CONCURRENCY)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
