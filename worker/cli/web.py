"""`evergrant web`: one process that hands out tokens over HTTP."""

import click

from models.states.process import ProcessKind
from worker.cli import session
from worker.cli.commands import Command
from worker.cli.output import json_option
from worker.cli.processes import check_alive, check_option, refuse_a_database_that_does_not_fit


@click.command(
    cls=Command,
    changes=False,
    example="""
    EVERGRANT_TOKEN_BIND=127.0.0.1:9465 evergrant web
    evergrant web --check
    """,
)
@check_option
@json_option
def web(*, check: bool, as_json: bool) -> None:
    """Run one web: it hands out tokens over HTTP, lets customers connect, and serves metrics. Any number may run."""
    if check:
        check_alive("web", as_json=as_json)
        return
    settings = session.prepared(ProcessKind.WEB)
    refuse_a_database_that_does_not_fit()
    from worker import core_dumps, logs
    from worker.web import server

    core_dumps.forbid()
    logs.configure("web", level=settings.log_level)
    server.run(settings)
