"""`evergrant grants connect`: the code flow, led from a terminal."""

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from worker.cli import session
from worker.cli.arguments import check_ref, client_option, grouped, label_option, ref_argument, timeout_option
from worker.cli.commands import Command
from worker.cli.failures import ExitCode, Failure
from worker.cli.grants.code_flow import (
    LOOPBACK_URI,
    Labels,
    client_of,
    code_parameter,
    has_no_user,
    invite,
    state_of,
    tell,
    warn_of_crowd,
)
from worker.cli.output import json_option

if TYPE_CHECKING:
    from tasks.connect import Invitation
    from worker.cli.grants.callback import Loopback


@click.command(cls=Command, example="evergrant grants connect customer-42 --client temple --label org=8f2")
@ref_argument
@client_option
@label_option
@timeout_option("15m")
@json_option
def connect(ref: str, *, client: str | None, labels: Labels, timeout: timedelta, as_json: bool) -> None:
    """Lead a user through the code flow on this machine.

    Prints the authorize URL, listens for the callback on loopback, exchanges the code and stores the grant.
    A client whose grants have no user (client_credentials) needs none of that: its provider is asked at once.
    """
    import asyncio

    from tasks import code_exchange
    from tasks.connect import read_callback
    from tasks.obtain import obtain
    from worker.cli.grants.callback import Loopback
    from worker.cli.runtime import opened

    settings = session.prepared()
    chosen = client_of(check_ref(ref), client)
    if has_no_user(chosen, settings):
        with opened(settings) as runtime:
            stored = obtain(runtime, chosen["id"], ref, labels=grouped(labels), who=settings.who)
        tell(stored, ref, chosen["name"], as_json=as_json)
        return
    listening_at = Loopback.of(chosen["redirect_uri"] or LOOPBACK_URI)
    invitation = invite(chosen, ref, labels, settings)
    code = code_parameter(chosen, settings)
    with opened(settings) as runtime:
        url = asyncio.run(_callback_of(invitation, listening_at, timeout, code))
        callback = read_callback(url, code_parameter=code)
        stored = code_exchange.finish(runtime, callback, client_id=chosen["id"], ref=ref, who=settings.who)
    warn_of_crowd(chosen, stored, settings)
    tell(stored, ref, chosen["name"], as_json=as_json)


async def _callback_of(invitation: "Invitation", listening_at: "Loopback", patience: timedelta, code: str) -> str:
    """Show the URL once somebody listens, and wait."""
    import asyncio

    from worker.cli.grants.callback import wait_for_callback

    ready = asyncio.Event()
    waits = wait_for_callback(listening_at, state=state_of(invitation), patience=patience, ready=ready, code=code)
    waiting = asyncio.create_task(waits)
    opened = asyncio.create_task(ready.wait())
    await asyncio.wait([waiting, opened], return_when=asyncio.FIRST_COMPLETED)
    opened.cancel()
    if ready.is_set():
        click.echo(f"Open this URL in the user's browser:\n\n  {invitation.url}\n", err=True)
        click.echo(f"Waiting for the callback at {invitation.redirect_uri} …", err=True)
    url = await waiting
    if url is None:
        raise Failure(
            code="timeout",
            message=f"Nobody came back within {patience.total_seconds():g} s",
            next_step="run it again",
            exit_code=ExitCode.TRY_AGAIN,
        )
    return url
