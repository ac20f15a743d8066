"""`evergrant status`: the fleet at a glance, once or live."""

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from worker.cli import glance, output, patience, session
from worker.cli.arguments import Duration
from worker.cli.attention import needs_human
from worker.cli.commands import Command
from worker.cli.failures import ExitCode
from worker.cli.output import json_option

if TYPE_CHECKING:
    from sqlalchemy import Connection


@click.command(
    cls=Command,
    changes=False,
    example="""
    evergrant status --watch
    evergrant status --json | jq .attention
    """,
)
@click.option("--watch", is_flag=True, help="Look again and again until Ctrl-C, on the whole terminal.")
@click.option("--interval", type=Duration(), default="2s", show_default=True, help="How often to look.")
@json_option
def status(*, watch: bool, interval: timedelta, as_json: bool) -> None:
    """The fleet at a glance.

    What is not well comes first, each with its cause and the next step; with --json it is `attention`, where
    `human` says whether somebody must act: then it ends with exit code 1. `causes` says what the grants of each
    client fail with, and since when, `suspects` which were refused once. `chores_overdue` names periodic work
    (erasures, late grants, shredding) that was not done for three of its intervals, and for five minutes at least.
    `journals_damaged` names journals that cannot be read, `revocations_held` what waits until somebody decides, and
    `database` says whether this is the one that was adopted; `unwritable` says why it answers and takes no write,
    or commits none. `lock_holder` is whose open transaction has held rows of ours for ten seconds, with what ends
    it (`next`). `provider_files` are those that cannot be used here. `full_disk` tells that less than 64 MiB are
    left where EVERGRANT_HOME lies here. `home`, `database_host` and `database_name` are what is looked at.
    `untaken` is what was handed out and no worker has taken up, `unconfirmed` names the clients whose new access
    tokens cannot be confirmed, and the `backlog` of a client is what waits for its rate or burst. `visits_waiting`
    are customers who wait for an exchange for longer than half a minute, with what is in the way, `visits_failed`
    those of the last hour who could not connect, by reason, and `public_listener` says whether any web leads them.

    With --watch on a terminal it fits the window, and shows renewals as they come and what happened last.
    """
    pause = max(interval.total_seconds(), 0.2)
    if not watch:
        found = snapshot()
        _print(found, as_json=as_json)
        if needs_human(found):
            raise click.exceptions.Exit(ExitCode.FAILED)
    elif as_json or not output.on_terminal():
        _print_again_and_again(pause, as_json=as_json)
    else:
        from worker.cli.status_view import live

        live(snapshot, pause=pause)


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.one(found, as_json=True)
        return
    from worker.cli.status_view import rendered

    rendered(found)


def snapshot() -> dict[str, Any]:
    """Everything that `status` shows, read in one transaction."""
    return patience.patiently(_read)


def _read() -> dict[str, Any]:
    with session.reading() as connection:
        found = glance.read(connection, session.prepared(), no_commit=patience.no_commit)
        return found | _looked_at(connection)


def _looked_at(connection: "Connection") -> dict[str, Any]:
    """Which home and which database: two that are empty look alike. Of several hosts the one that answered."""
    info = connection.connection.dbapi_connection.info  # type: ignore[union-attr]  # psycopg's
    return {
        "home": str(session.prepared().home.expanduser().absolute()),
        "database_host": f"{info.host}:{info.port}",
        "database_name": info.dbname,
    }


def _print_again_and_again(pause: float, *, as_json: bool) -> None:
    """Print snapshots until somebody ends it: JSON Lines, or plain text with an empty line between."""
    while True:
        _print(snapshot(), as_json=as_json)
        if not as_json:
            click.echo()
        time.sleep(pause)
