"""What the commands that start processes share: whether one is alive, and what is seen to before a long run."""

import socket
import warnings

import click

from worker.cli import output, session
from worker.cli.failures import ExitCode, Failure

NEWER = (
    "evergrant: The database is at revision {revision}, of a newer release; that is meant to work with the release"
    " just before it, and for the time of an upgrade. Install that release here, too."
)

check_option = click.option(
    "--check", is_flag=True, help="Run nothing: exit 0 where one runs on this machine, 1 where none does."
)
concurrency_option = click.option("--concurrency", type=click.IntRange(1, 512), help="Celery threads of one worker.")


def refuse_a_database_that_does_not_fit() -> None:
    """Look once before the long run: what no waiting mends is told at the start.

    Where a newer release was, this one may go on: a worker that is started again in the midst of a rolling upgrade, or
    because the new release is taken back, must come back.

    Raises:
        NotUpgraded: the tables do not fit this release.

    """
    from sqlalchemy.exc import OperationalError

    from models import migrations

    try:
        # It waits where it is not to work, and says so.
        with session.transaction(anywhere=True, newer=True) as connection:
            revision = migrations.newer(connection)
    except OperationalError:
        # Away is another matter: the process waits for it.
        return
    if revision is not None:
        click.echo(NEWER.format(revision=revision), err=True)


def refuse_traces_that_cannot_be_sent() -> None:
    """See before the long run that what sends spans is there, where they are wanted.

    Raises:
        CannotTrace: it is not.

    """
    import settings

    if settings.current().otlp_endpoint is not None:
        from worker import traces

        traces.require(settings.current())


def hush_celery() -> None:
    """Celery warns of root because of pickle; we accept JSON alone."""
    from celery.exceptions import SecurityWarning

    warnings.filterwarnings("ignore", category=SecurityWarning)
    warnings.filterwarnings("ignore", message=".*superuser privileges.*")


def check_alive(kind: str, *, as_json: bool) -> None:
    """Succeed where a process of this kind, on this machine, said lately that it lives.

    Raises:
        Failure: none did.

    """
    from models.views import fleet

    host = socket.gethostname()
    with session.transaction(anywhere=True, newer=True) as connection:
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
