"""What is said of a client: the options, and how they become its registration."""

from collections.abc import Callable
from typing import Any

import click
from sqlalchemy import RowMapping

from models.operating import Registration
from settings import Settings
from tasks.oauth import provider as files
from tasks.registration import resolve, times_of
from worker.cli.arguments import Duration

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
        type=click.Choice([each.value for each in files.Rotation]),
        help="What the provider does to the old refresh token.",
    ),
    click.option("--grace", type=Duration(), help="How long it lives at --rotation grace."),
    click.option("--body", type=click.Choice([each.value for each in files.Body]), help="How requests are written."),
    click.option("--auth", type=click.Choice([each.value for each in files.Auth]), help="Where the credentials go."),
    click.option("--keep", type=click.Choice(["warm", "on-demand"]), help="Renew always, or when it is read."),
    click.option("--return-to", metavar="PREFIX", help="Where users may be sent after connecting."),
)


def described(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command every option that describes a client."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


secret_option = click.option("--client-secret-file", metavar="FILE", help="The client secret; - reads standard input.")


def merged(settings: Settings, provider: str, given: dict[str, Any], *, before: RowMapping | None) -> Registration:
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
    kept = {"redirect_uri": None, "return_to": None, "keep": "warm"} | kept
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
