"""`evergrant up | worker | beat | web`: the processes, from any folder."""

import os
import socket
import warnings

import click

import settings as configuration
from models.states.process import ProcessKind
from worker.cli import output, session
from worker.cli.commands import Command
from worker.cli.failures import ExitCode, Failure
from worker.cli.output import json_option

check_option = click.option(
    "--check", is_flag=True, help="Run nothing: exit 0 where one runs on this machine, 1 where none does."
)
concurrency_option = click.option("--concurrency", type=click.IntRange(1, 512), help="Celery threads of one worker.")


@click.command(
    cls=Command,
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
    web where EVERGRANT_TOKEN_BIND or EVERGRANT_OPS_BIND is set; starts again what dies, and stops all of it
    gracefully. A second Ctrl-C kills.
    """
    from worker import logs
    from worker.embedded import supervisor

    settings = configuration.current()
    logs.configure("up", level=settings.log_level)
    logs.warn_of_unknown_settings()
    code = supervisor.run(
        settings, workers=workers or settings.workers, concurrency=concurrency or settings.concurrency
    )
    raise click.exceptions.Exit(code)


@click.command(
    cls=Command,
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
    if check:
        _check(ProcessKind.WORKER, as_json=as_json)
        return
    from worker.cli import keyrings

    settings = session.prepared()
    keyrings.keys_needed(keyrings.vault(), "refresh", "access")
    if concurrency:
        configuration.adopt(settings.model_copy(update={"concurrency": concurrency}))
    _refuse_a_database_that_does_not_fit()
    from worker.celery import app

    _hush_celery()
    # Many workers may run on a machine; pid and host make the name unique, gossip and mingle have no use here.
    running = app.Worker(
        hostname=f"evergrant-{os.getpid()}@{socket.gethostname()}",
        loglevel=settings.log_level,
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    running.start()
    raise click.exceptions.Exit(running.exitcode or 0)


@click.command(
    cls=Command,
    example="""
    evergrant beat
    evergrant beat --check
    """,
)
@check_option
@json_option
def beat(*, check: bool, as_json: bool) -> None:
    """Run one beat: it claims what is due. Any number may run."""
    if check:
        _check(ProcessKind.BEAT, as_json=as_json)
        return
    settings = session.prepared()
    _refuse_a_database_that_does_not_fit()
    from worker.celery import app

    _hush_celery()
    app.Beat(loglevel=settings.log_level, quiet=True).run()


@click.command(
    cls=Command,
    example="""
    EVERGRANT_TOKEN_BIND=127.0.0.1:9465 evergrant web
    evergrant web --check
    """,
)
@check_option
@json_option
def web(*, check: bool, as_json: bool) -> None:
    """Run one web: it hands out tokens over HTTP, and serves metrics. Any number may run."""
    if check:
        _check(ProcessKind.WEB, as_json=as_json)
        return
    settings = session.prepared()
    _refuse_a_database_that_does_not_fit()
    from worker import logs
    from worker.web import server

    logs.configure("web", level=settings.log_level)
    server.run(settings)


def _refuse_a_database_that_does_not_fit() -> None:
    """Look once before the long run: what no waiting mends is told at the start.

    Raises:
        NotUpgraded, NewerDatabase: the tables do not fit this release.

    """
    from sqlalchemy.exc import OperationalError

    try:
        with session.transaction():
            pass
    except OperationalError:
        # Away is another matter: the process waits for it.
        return


def _hush_celery() -> None:
    """Celery warns of root because of pickle; we accept JSON alone."""
    from celery.exceptions import SecurityWarning

    warnings.filterwarnings("ignore", category=SecurityWarning)
    warnings.filterwarnings("ignore", message=".*superuser privileges.*")


def _check(kind: str, *, as_json: bool) -> None:
    """Succeed where a process of this kind, on this machine, said lately that it lives.

    Raises:
        Failure: none did.

    """
    from models.views import fleet

    host = socket.gethostname()
    with session.transaction() as connection:
        alive = [
            each
            for each in fleet.processes(connection)
            if each["alive"] and each["kind"] == kind and each["host"] == host
        ]
    if not alive:
        raise Failure(
            code="not_healthy",
            message=f"No {kind} of this machine said within {fleet.SILENT_AFTER.total_seconds():g} s that it lives",
            next_step=f"look at its log, or start it with `evergrant {kind}`",
            exit_code=ExitCode.FAILED,
        )
    record = {"healthy": True, "pids": [each["pid"] for each in alive]}
    output.done(record, f"{len(alive)} alive.", as_json=as_json)
