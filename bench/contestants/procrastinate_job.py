"""The refresh as a procrastinate job.

python -m bench.contestants.procrastinate_job install|work|scan DATABASE_URL PROVIDER_URL
"""

import asyncio
import sys

from procrastinate import App, PsycopgConnector

from bench.contestants.job_queues import CONCURRENCY, JobQueue, Refresher


class Procrastinate(JobQueue):
    """A worker with `concurrency` jobs at once; finished jobs are deleted, as its documentation advises."""

    name = f"procrastinate -c{CONCURRENCY}"
    module = "bench.contestants.procrastinate_job"
    part = "procrastinate"


async def main(what: str, database_url: str, provider_url: str) -> None:
    """Make the tables, work, or queue the scan."""
    app = App(connector=PsycopgConnector(conninfo=database_url, min_size=4, max_size=30))
    refresher = Refresher(database_url, provider_url)

    @app.task(name="refresh")
    async def refresh(ref: str) -> None:
        await refresher.refresh(ref)

    @app.task(name="scan")
    async def scan() -> None:
        refs = await refresher.due()
        for first in range(0, len(refs), 500):
            await refresh.batch_defer_async(*({"ref": ref} for ref in refs[first : first + 500]))

    async with app.open_async():
        match what:
            case "install":
                await app.schema_manager.apply_schema_async()
            case "scan":
                await scan.defer_async()
            case _:
                await refresher.open()
                print("ready", flush=True)
                await app.run_worker_async(concurrency=CONCURRENCY, delete_jobs="successful")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
