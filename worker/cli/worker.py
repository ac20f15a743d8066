"""`evergrant worker`: one process that talks to the providers."""

import os
import socket

import click

from models.states.process import ProcessKind
from worker.cli import keyrings, session
from worker.cli.commands import Command
from worker.cli.output import json_option
from worker.cli.processes import (
    check_alive,
    check_option,
    concurrency_option,
    hush_celery,
    refuse_a_database_that_does_not_fit,
    refuse_traces_that_cannot_be_sent,
)


@click.command(
    cls=Command,
    changes=False,
    example="""
    evergrant worker --concurrency 16
    evergrant worker --check
    """,
)
@concurrency_option
@check_option
@json_option
def worker(*, concurrency: int | None, check: bool, as_json: bool) -> None:
    """Run one worker: it talks to the providers."""
    import settings as configuration

    if check:
        check_alive("worker", as_json=as_json)
        return
    settings = session.prepared(ProcessKind.WORKER)
    refuse_traces_that_cannot_be_sent()
    keyrings.keys_needed(keyrings.vault(), "refresh", "access")
    if concurrency:
        configuration.adopt(settings.model_copy(update={"concurrency": concurrency}))
    refuse_a_database_that_does_not_fit()
    from worker.celery import app

    hush_celery()
    # Many workers may run on a machine; pid and host make the name unique.
    running = app.Worker(
        hostname=f"evergrant-{os.getpid()}@{socket.gethostname()}",
        loglevel=settings.log_level,
        quiet=True,
    )
    running.start()
    raise click.exceptions.Exit(running.exitcode or 0)
