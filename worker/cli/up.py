"""`evergrant up`: everything on this machine, until Ctrl-C."""

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from worker.cli.commands import Command
from worker.cli.processes import concurrency_option

if TYPE_CHECKING:
    from settings import Settings
    from worker.embedded.log_file import LogFile


@click.command(
    cls=Command,
    changes=False,
    example="""
    evergrant up
    evergrant up --workers 2 --concurrency 16
    evergrant up --log json
    """,
)
@click.option("--workers", type=click.IntRange(1, 64), help="Worker processes.")
@concurrency_option
@click.option(
    "--log",
    type=click.Choice(["file", "json"]),
    help="Where log lines go: `file`, up.log in the home, while the terminal is told in words; `json`, standard error."
    " Without it: file where standard error is a terminal, else json.",
)
def up(*, workers: int | None, concurrency: int | None, log: str | None) -> None:
    """Run everything on this machine until Ctrl-C.

    Starts PostgreSQL and Valkey where no URL is set, brings the tables up to date, then runs workers and beat, and
    web where EVERGRANT_TOKEN_BIND, EVERGRANT_PUBLIC_BIND or EVERGRANT_OPS_BIND is set; says when all of them are at
    work, and what to do next; starts again what dies, and stops all of it gracefully. A second Ctrl-C kills. What no
    waiting heals, such as a lost key ring or a port in use, it refuses at once, with exit code 2.
    """
    import settings as configuration
    from worker import core_dumps, logs
    from worker.embedded import supervisor

    core_dumps.forbid()  # the engines, which hold passwords, inherit that
    settings = configuration.current()
    log = log or ("file" if sys.stderr.isatty() else "json")
    with ExitStack() as stack:
        log_file = stack.enter_context(_log_file(settings)) if log == "file" else None
        if log_file is None:
            logs.configure("up", level=settings.log_level)
        else:
            _tell_in_words(settings, log_file)
        logs.warn_of_unknown_settings()
        code = supervisor.run(
            settings,
            workers=workers or settings.workers,
            concurrency=concurrency or settings.concurrency,
            log_file=log_file,
        )
    raise click.exceptions.Exit(code)


def _log_file(settings: "Settings") -> "LogFile":
    from worker.embedded.home import Home
    from worker.embedded.log_file import LogFile

    return LogFile(Home.at(settings.home).up_log)


def _tell_in_words(settings: "Settings", log_file: "LogFile") -> None:
    """Log into the file, and tell a person in words what concerns them, however little is logged."""
    from worker import logs
    from worker.cli.narrator import Narrator

    engines = [
        name for name, url in (("PostgreSQL", settings.database_url), ("Valkey", settings.broker_url)) if not url
    ]
    click.echo(f"Starting {''.join(f'{name}, ' for name in engines)}workers and beat in {log_file.path.parent} …")
    level = settings.log_level if settings.log_level == "DEBUG" else "INFO"
    logs.configure("up", level=level, into=log_file.lines, beside=Narrator(log_file.path).tell)
