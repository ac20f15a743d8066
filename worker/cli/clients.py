"""`evergrant clients`: our registrations at the providers."""

from collections.abc import Callable
from typing import Any

import click
from sqlalchemy import Connection, RowMapping

from models import operator_actions
from models.operator_actions import Registration
from models.sealing.vault import Vault
from models.states.client import ClientState, Keep
from models.views import listing
from settings import Settings
from tasks.oauth import provider as files
from tasks.oauth.rotation import Rotation
from tasks.runtime.registration import resolve, times_of
from worker.cli import keyrings, output, session
from worker.cli.arguments import NAME, Duration, confirm, read_secret, yes_option
from worker.cli.commands import Command
from worker.cli.failures import misuse
from worker.cli.output import Column, json_option
from worker.cli.providers import rate
from worker.cli.rotation_probe import probe_rotation

COLUMNS = [
    Column("name"),
    Column("provider", spare=1),
    Column("grants", number=True),
    Column("rate", spare=3),
    Column("rotation", spare=4),
    Column("keep", spare=5),
    Column("state"),
    Column("reason", spare=2),
]
# What a client may say differently from its provider's file: option to field.
OVERRIDES = (
    "authorize_url",
    "token_url",
    "revoke_url",
    "api_url",
    "confirm_url",
    "rate",
    "burst",
    "rotation",
    "grace_seconds",
    "body",
    "auth",
)
OPTIONS = (
    click.option("--client-id", help="The id that the provider gave us."),
    click.option("--redirect-uri", metavar="URL", help="Where the provider sends users back to."),
    click.option("--authorize-url", metavar="URL", help="Where the user is sent to consent."),
    click.option("--token-url", metavar="URL", help="Where codes are exchanged and tokens refreshed."),
    click.option("--revoke-url", metavar="URL", help="Where tokens are revoked."),
    click.option("--api-url", metavar="URL", help="Answers 401 to a dead access token."),
    click.option("--confirm-url", metavar="URL", help="Where a new access token is presented once."),
    click.option("--scope", "scopes", multiple=True, metavar="S", help="Asked for; may be repeated."),
    click.option("--rate", metavar="N/minute", help="What may be sent, such as 100/minute, or none."),
    click.option("--burst", type=int, metavar="N", help="Requests under way at once."),
    click.option(
        "--rotation",
        type=click.Choice([each.value for each in Rotation]),
        help="What the provider does to the old refresh token.",
    ),
    click.option("--grace", type=Duration(), help="How long it lives at --rotation grace."),
    click.option("--body", type=click.Choice([each.value for each in files.Body]), help="How requests are written."),
    click.option("--auth", type=click.Choice([each.value for each in files.Auth]), help="Where the credentials go."),
    click.option("--keep", type=click.Choice([*Keep.meanings()]), help="Renew always, or when it is read."),
    click.option("--return-to", metavar="PREFIX", help="Where users may be sent after connecting."),
)


def described(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command every option that describes a client."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


secret_option = click.option("--client-secret-file", metavar="FILE", help="The client secret; - reads standard input.")


@click.group()
def clients() -> None:
    """Our registrations at the providers."""


@clients.command(
    cls=Command,
    example="""
    evergrant clients add temple --provider event-temple --client-id ID --client-secret-file secret.txt
    evergrant clients add shop --provider generic --client-id ID --client-secret-file - --token-url URL
    """,
)
@click.argument("name")
@click.option("--provider", required=True, help="One of `evergrant providers list`.")
@secret_option
@described
@json_option
def add(name: str, *, provider: str, client_secret_file: str | None, as_json: bool, **given: Any) -> None:
    """Register a client; what the provider's file says already need not be said again."""
    if NAME.fullmatch(name) is None:
        raise misuse(
            code="client_name",
            message="A client's name is 1 to 63 letters, digits, dots, dashes or underscores",
            next_step="choose another",
        )
    if not given["client_id"]:
        raise misuse(message="A client needs its id", next_step="add --client-id ID")
    settings = session.prepared()
    vault = keyrings.keys_needed(keyrings.vault(), "refresh")
    secret = read_secret(client_secret_file, what="client secret") if client_secret_file else None
    registration = _registration(settings, provider, given, before=None)
    with session.transaction() as connection:
        made = operator_actions.add_client(connection, name, registration, who=settings.who)
        if secret is not None:
            _store_secret(connection, made, secret, vault, settings)
        record = _record(listing.client_by_name(connection, name))
        missing = _missing(listing.client_by_name(connection, name), settings)
    output.done(record, f"Added {name}. Next: {_next(name, missing)}", as_json=as_json)


@clients.command("list", cls=Command, example="evergrant clients list")
@json_option
def list_(*, as_json: bool) -> None:
    """List the clients, with how many grants each has and what stops it."""
    with session.reading() as connection:
        records = [_record(row) for row in listing.clients(connection)]
    output.rows(records, COLUMNS, as_json=as_json, nothing="There is no client yet; add one with `clients add`.")


@clients.command(cls=Command, example="evergrant clients show temple --json")
@click.argument("name")
@json_option
def show(name: str, *, as_json: bool) -> None:
    """Show a client, its endpoints and its valve."""
    settings = session.prepared()
    with session.reading() as connection:
        row = listing.client_by_name(connection, name)
    output.one(_record(row) | _endpoints(row, settings), as_json=as_json)


@clients.command("set", cls=Command, example="evergrant clients set temple --rate 60/minute")
@click.argument("name")
@described
@json_option
def set_(name: str, *, as_json: bool, **given: Any) -> None:
    """Change what is said about a client; without an option its provider's file is read anew."""
    settings = session.prepared()
    with session.transaction() as connection:
        row = listing.client_by_name(connection, name)
        registration = _registration(settings, row["provider"], given, before=row)
        operator_actions.set_client(connection, row["id"], registration, who=settings.who)
        record = _record(listing.client_by_name(connection, name))
    output.done(record, f"Changed {name}.", as_json=as_json)


@clients.command("set-secret", cls=Command, example="evergrant clients set-secret temple --client-secret-file -")
@click.argument("name")
@click.option("--client-secret-file", metavar="FILE", required=True, help="- reads standard input.")
@json_option
def set_secret(name: str, *, client_secret_file: str, as_json: bool) -> None:
    """Store a new client secret; it is used from the next request on."""
    settings = session.prepared()
    vault = keyrings.keys_needed(keyrings.vault(), "refresh")
    secret = read_secret(client_secret_file, what="client secret")
    with session.transaction() as connection:
        row = listing.client_by_name(connection, name)
        _store_secret(connection, row["id"], secret, vault, settings)
        record = _record(listing.client_by_name(connection, name))
    output.done(record, f"{name} has a new secret.", as_json=as_json)


@clients.command(cls=Command, example="evergrant clients pause temple")
@click.argument("name")
@json_option
def pause(name: str, *, as_json: bool) -> None:
    """Stop everything that is sent for a client, revocations excepted."""
    _turn(name, operator_actions.pause_client, "{name} is paused; resume it with `clients resume`.", as_json=as_json)


@clients.command(cls=Command, example="evergrant clients resume temple")
@click.argument("name")
@json_option
def resume(name: str, *, as_json: bool) -> None:
    """Go on sending for a client that was paused by hand."""
    _turn(name, operator_actions.resume_client, "{name} goes on.", as_json=as_json)


@clients.command("accept-deaths", cls=Command, example="evergrant clients accept-deaths temple")
@click.argument("name")
@yes_option
@json_option
def accept_deaths(name: str, *, yes: bool, as_json: bool) -> None:
    """Let through the verdicts that were held because unusually many grants were refused at once."""
    settings = session.prepared()
    confirm(f"Have the users of {name} really withdrawn their consents?", yes=yes)
    with session.transaction() as connection:
        row = listing.client_by_name(connection, name)
        held = operator_actions.accept_deaths(connection, row["id"], who=settings.who)
        record = _record(listing.client_by_name(connection, name))
    told = "Held verdicts go through." if held else "No verdict was held; nothing to do."
    output.done(record, told, as_json=as_json)


clients.add_command(probe_rotation)


def _missing(row: RowMapping, settings: Settings) -> list[str]:
    """The options without which nobody can connect: neither the provider's file nor the command said them."""
    found = _endpoints(row, settings)
    return [f"--{name.replace('_', '-')}" for name in ("authorize_url", "token_url") if not found[name]]


def _next(name: str, missing: list[str]) -> str:
    if missing:
        return f"evergrant clients set {name} " + " ".join(f"{option} URL" for option in missing)
    return f"evergrant grants connect REF --client {name}"


def _turn(name: str, change: Callable[..., None], told: str, *, as_json: bool) -> None:
    settings = session.prepared()
    with session.transaction() as connection:
        row = listing.client_by_name(connection, name)
        change(connection, row["id"], who=settings.who)
        record = _record(listing.client_by_name(connection, name))
    output.done(record, told.format(name=name), as_json=as_json)


def _store_secret(connection: Connection, client_id: int, secret: str, vault: Vault, settings: Settings) -> None:
    sealed = vault.seal(secret, table="clients", row_id=client_id, purpose="secret")
    operator_actions.set_client_secret(connection, client_id, sealed, who=settings.who)


def _registration(
    settings: Settings, provider: str, given: dict[str, Any], *, before: RowMapping | None
) -> Registration:
    """Merge what is said now over what was said before, and resolve it with the provider's file.

    Raises:
        UnknownProvider: there is no such file.
        ProviderFileError: the file, or what was said, cannot be used.

    """
    if given.get("grace") is not None:
        given["grace_seconds"] = given["grace"].total_seconds()
    said = {key: given[key] for key in OVERRIDES if given.get(key) is not None}
    overrides = (before["overrides"] if before else {}) | said
    resolved = resolve(provider, overrides, settings)
    kept = {key: before[key] for key in ("client_id", "redirect_uri", "return_to", "keep")} if before else {}
    kept = {"redirect_uri": None, "return_to": None, "keep": Keep.WARM} | kept
    now = {key: given[key] for key in ("client_id", *kept) if given.get(key) is not None}
    return Registration(
        provider=provider,
        overrides=overrides,
        scopes=given["scopes"] or (before["scopes"] if before else ()),
        rotation=resolved.rotation.value,
        rate_per_minute=resolved.rate,
        burst=resolved.allowed_burst,
        attempt_lease=times_of(resolved, settings).lease,
        grace=resolved.grace,
        **(kept | now),
    )


def _record(row: RowMapping) -> dict[str, Any]:
    what, reason = state(row)
    return {
        "name": row["name"],
        "provider": row["provider"],
        "client_id": row["client_id"],
        "has_secret": row["has_secret"],
        "redirect_uri": row["redirect_uri"],
        "scopes": row["scopes"],
        "return_to": row["return_to"],
        "keep": row["keep"],
        "rotation": row["rotation"],
        "rate": rate(row["rate_per_minute"]),
        "burst": row["burst"],
        "grants": row["grants"],
        "state": what,
        "reason": reason,
        "paused_until": row["paused_until"],
        "deaths_held_at": row["deaths_held_at"],
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
    }


def state(row: RowMapping) -> tuple[str, str | None]:
    """What the valve lets through, and why not more."""
    if row["paused_by_operator"]:
        return ClientState.PAUSED, "by an operator"
    if row["paused_until"] is not None:
        return ClientState.SHUT, row["pause_reason"]
    if row["deaths_held_at"] is not None:
        return ClientState.HOLDING, "unusually many grants were refused: see `clients accept-deaths`"
    return ClientState.OPEN, None


def _endpoints(row: RowMapping, settings: Settings) -> dict[str, Any]:
    resolved = resolve(row["provider"], row["overrides"], settings)
    names = ("authorize_url", "token_url", "revoke_url", "api_url", "confirm_url", "body", "auth")
    return {name: getattr(resolved, name) for name in names}
