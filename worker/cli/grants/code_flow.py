"""What the commands of the code flow share: whose it is, the invitation, what is told at its end."""

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import click

from worker.cli import keyrings, output, session
from worker.cli.arguments import grouped
from worker.cli.failures import ExitCode, Failure, misuse
from worker.cli.started import as_started

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

    from settings import Settings
    from tasks.connect import Invitation
    from tasks.settling.consent import StoredConsent


# Where a client has no redirect URI of its own; the simulator knows it.
LOOPBACK_URI = "http://127.0.0.1:8400/callback"

Labels = tuple[tuple[str, str], ...]


def client_of(ref: str, name: str | None) -> "RowMapping":
    """The client that was named, the one that the ref has, or the only one.

    Raises:
        Failure: several are possible, or there is none.

    """
    from models.errors import UnknownRef
    from models.views import listing

    with session.reading() as connection:
        if name is not None:
            return listing.client_by_name(connection, name)
        known = listing.clients(connection)
        try:
            owner = listing.locate(connection, [ref], None)[0].client
        except UnknownRef:
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


def has_no_user(chosen: "RowMapping", settings: "Settings") -> bool:
    """Whether the grants of a client have no user: its own credentials are all that they need."""
    from tasks.oauth.shapes import Kind
    from tasks.runtime.registration import resolve

    return resolve(chosen["provider"], chosen["overrides"], settings).kind is Kind.CLIENT_CREDENTIALS


def invite(chosen: "RowMapping", ref: str, labels: Labels, settings: "Settings") -> "Invitation":
    """Make the URL that a user must visit, and remember its state."""
    from tasks import connect as flow
    from tasks.runtime.registration import Registrations

    session.require_own_database()
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


def state_of(invitation: "Invitation") -> str:
    """The state that its callback must bring (RFC 6749 §10.12)."""
    return dict(parse_qsl(urlsplit(invitation.url).query))["state"]


def code_parameter(chosen: "RowMapping", settings: "Settings") -> str:
    """What the client's provider calls the code in its redirect to us."""
    from tasks.runtime.registration import resolve

    return resolve(chosen["provider"], chosen["overrides"], settings).code_parameter


def warn_of_crowd(chosen: "RowMapping", stored: "StoredConsent", settings: "Settings") -> None:
    """Say where a user has more refresh tokens than their provider keeps: the oldest of them may have died just now."""
    from models import shared_grant
    from tasks.runtime.registration import resolve

    most = resolve(chosen["provider"], chosen["overrides"], settings).refresh_tokens_per_user
    if most is None:
        return
    with session.reading() as connection:
        count = shared_grant.alike(connection, stored.grant_id)
    if count > most:
        told = f"{count} grants of {chosen['name']} have these labels, and its provider keeps {most} refresh tokens"
        beware = f"Beware: {told} of a user: the oldest may be dead. See `evergrant grants list --label`."
        click.echo(as_started(beware), err=True)


def tell(stored: "StoredConsent", ref: str, client: str, *, as_json: bool) -> None:
    """Say how the grant was stored."""
    told = {
        "connected": f"{ref} is connected.",
        "reconnected": f"{ref} is connected again; its old consent will be revoked.",
        "unchanged": f"{ref} already holds this very pair; nothing changed.",
    }[stored.how]
    record: dict[str, Any] = {"ref": ref, "client": client, "generation": stored.generation, "how": stored.how}
    if stored.second is not None:  # it became two grants
        more = stored.second
        record["second"] = {"ref": more.ref, "generation": more.generation, "how": more.how}
        told += f" So is {more.ref}, its second token set." if more.how != "unchanged" else ""
    output.done(record, told, as_json=as_json)
