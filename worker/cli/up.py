"""`evergrant up`: everything on this machine, until Ctrl-C."""

import click

from worker.cli.commands import Command
from worker.cli.processes import concurrency_option


@click.command(
    cls=Command,
    changes=False,
    example="""
    evergrant up
    evergrant up --workers 2 --concurrency 16
    """,
)
@click.option("--workers", type=click.IntRange(1, 64), help="Worker processes.")
@concurrency_option
def up(*, workers: int | None, concurrency: int | None) -> None:
    """Run everything on this machine until Ctrl-C.

    Starts PostgreSQL and Valkey where no URL is set, brings the tables up to date, then runs workers and beat, and
    web where EVERGRANT_TOKEN_BIND, EVERGRANT_PUBLIC_BIND or EVERGRANT_OPS_BIND is set; starts again what dies, and
    stops all of it gracefully. A second Ctrl-C kills.
    """
    import settings as configuration
    from worker import logs
    from worker.embedded import supervisor

    settings = configuration.current()
    logs.configure("up", level=settings.log_level)
    logs.warn_of_unknown_settings()
    code = supervisor.run(
        settings, workers=workers or settings.workers, concurrency=concurrency or settings.concurrency
    )
    raise click.exceptions.Exit(code)
