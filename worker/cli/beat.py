"""`evergrant beat`: one process that claims what is due."""

import click

from models.states.process import ProcessKind
from worker.cli import session
from worker.cli.commands import Command
from worker.cli.output import json_option
from worker.cli.processes import (
    check_alive,
    check_option,
    hush_celery,
    refuse_a_database_that_does_not_fit,
    refuse_traces_that_cannot_be_sent,
)


@click.command(
    cls=Command,
    changes=False,
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
        check_alive("beat", as_json=as_json)
        return
    settings = session.prepared(ProcessKind.WORKER)
    refuse_traces_that_cannot_be_sent()
    refuse_a_database_that_does_not_fit()
    from worker.celery import app

    hush_celery()
    app.Beat(loglevel=settings.log_level, quiet=True).run()
