"""`evergrant grants connect | authorize-url | exchange`: the code flow, led from a terminal."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import click
from sqlalchemy import RowMapping

from models.views import listing
from settings import Settings
from tasks import connect as flow
from tasks.connect import Invitation
from tasks.runtime.registration import Registrations
from tasks.runtime.runtime import Runtime
from tasks.settling.consent import Stored
from worker.cli import keyrings, output, session
from worker.cli.arguments import (
    check_ref,
    client_option,
    grouped,
    label_option,
    read_secret,
    ref_argument,
    timeout_option,
)
from worker.cli.callback import Loopback, wait_for_callback
from worker.cli.commands import Command
from worker.cli.failures import ExitCode, Failure, misuse
from worker.cli.output import json_option

# Where a client has no redirect URI of its own; the simulator knows it.
LOOPBACK_URI = "http://127.0.0.1:8400/callback"

Labels = tuple[tuple[str, str], ...]


@click.command(cls=Command, example="evergrant grants connect customer-42 --client temple --label org=8f2")
@ref_argument
@client_option
@label_option
@timeout_option("15m")
@json_option
def connect(ref: str, *, client: str | None, labels: Labels, timeout: timedelta, as_json: bool) -> None:
    """Lead a user through the code flow on this machine.

    Prints the authorize URL, listens for the callback on loopback, exchanges the code and stores the grant.
    """
    settings = session.prepared()
    chosen = _client_of(check_ref(ref), client)
    listening_at = Loopback.of(chosen["redirect_uri"] or LOOPBACK_URI)
    invitation = _invite(chosen, ref, labels, settings)
    with workplace(settings) as place:
        url = asyncio.run(_callback_of(invitation, listening_at, timeout))
        stored = flow.finish(place, flow.read_callback(url), client_id=chosen["id"], ref=ref, who=settings.who)
    _tell(stored, ref, chosen["name"], as_json=as_json)


@click.command("authorize-url", cls=Command, example="evergrant grants authorize-url customer-42 --client temple")
@ref_argument
@client_option
@label_option
@json_option
def authorize_url(ref: str, *, client: str | None, labels: Labels, as_json: bool) -> None:
    """Print the URL that a user must visit; it may be used once, within 15 minutes."""
    settings = session.prepared()
    chosen = _client_of(check_ref(ref), client)
    invitation = _invite(chosen, ref, labels, settings)
    record = {
        "ref": ref,
        "client": chosen["name"],
        "url": invitation.url,
        "redirect_uri": invitation.redirect_uri,
        "expires_in": int(invitation.lives.total_seconds()),
    }
    output.done(record, invitation.url, as_json=as_json)


@click.command(
    cls=Command,
    example="evergrant grants exchange customer-42 --client temple --callback-url-file callback.txt",
)
@ref_argument
@client_option
@click.option(
    "--callback-url-file",
    metavar="FILE",
    required=True,
    help="Holds the whole URL that the user came back to; - reads standard input.",
)
@json_option
def exchange(ref: str, *, client: str | None, callback_url_file: str, as_json: bool) -> None:
    """Finish a code flow with the URL that the user came back to; its state must be one made for this ref."""
    settings = session.prepared()
    chosen = _client_of(check_ref(ref), client)
    callback = flow.read_callback(read_secret(callback_url_file, what="callback URL"))
    with workplace(settings) as place:
        stored = flow.finish(place, callback, client_id=chosen["id"], ref=ref, who=settings.who)
    _tell(stored, ref, chosen["name"], as_json=as_json)


@contextmanager
def workplace(settings: Settings) -> Iterator[Runtime]:
    """Keys, transport and a journal of this process's own."""
    keyrings.keys_needed(keyrings.vault(), "refresh", "access")
    place = Runtime.open(settings)
    try:
        yield place
    finally:
        place.close()


def _client_of(ref: str, name: str | None) -> RowMapping:
    """The client that was named, the one that the ref has, or the only one.

    Raises:
        Failure: several are possible, or there is none.

    """
    with session.reading() as connection:
        if name is not None:
            return listing.client_by_name(connection, name)
        known = listing.clients(connection)
        try:
            owner = listing.locate(connection, [ref], None)[0].client
        except listing.UnknownRef:
            owner = None
    fitting = [row for row in known if owner is None or row["name"] == owner]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise Failure(
            code="no_client",
            message="There is no client yet",
            next_step="add one with `evergrant clients add`",
            exit_code=ExitCode.NOT_FOUND,
        )
    names = ", ".join(row["name"] for row in fitting)
    raise misuse(code="client_needed", message=f"There are several clients: {names}", next_step="add --client NAME")


def _invite(chosen: RowMapping, ref: str, labels: Labels, settings: Settings) -> Invitation:
    vault = keyrings.keys_needed(keyrings.vault(), "refresh", "access")
    return flow.begin(
        Registrations(vault, settings),
        vault,
        chosen["id"],
        ref,
        labels=grouped(labels),
        scopes=list(chosen["scopes"]),
        redirect_uri=None if chosen["redirect_uri"] else LOOPBACK_URI,
        who=settings.who,
    )


async def _callback_of(invitation: Invitation, listening_at: Loopback, patience: timedelta) -> str:
    """Show the URL once somebody listens, and wait."""
    ready = asyncio.Event()
    waiting = asyncio.create_task(wait_for_callback(listening_at, patience=patience, ready=ready))
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


def _tell(stored: Stored, ref: str, client: str, *, as_json: bool) -> None:
    told = {
        "connected": f"{ref} is connected.",
        "reconnected": f"{ref} is connected again; its old consent will be revoked.",
        "unchanged": f"{ref} already holds this very pair; nothing changed.",
    }[stored.how]
    record = {"ref": ref, "client": client, "generation": stored.generation, "how": stored.how}
    output.done(record, told, as_json=as_json)
