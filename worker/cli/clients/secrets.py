"""What a client proves with who it is: read from files, checked against its `auth`, and told of without being shown."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from worker.cli.arguments import read_pem, read_secret
from worker.cli.failures import Failure, misuse

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from models.client import Known
    from models.sealing.vault import Vault
    from settings import Settings
    from tasks.oauth.shapes import Auth

FILES = ("client_secret_file", "private_key_file", "certificate_file")
SOON = timedelta(days=14)  # a certificate that ends within is told

# What each way to prove who a client is needs, and what it may have; in the order in which a server is asked for them.
NEEDED: dict[str, tuple[str, ...]] = {
    "basic": ("client_secret_file",),
    "body": ("client_secret_file",),
    "private_key_jwt": ("private_key_file",),
    "mtls": ("certificate_file", "private_key_file"),
    "none": (),
}


def named(given: Mapping[str, Any]) -> tuple[str, ...]:
    """Which of these files a command line names."""
    return tuple(name for name in FILES if given.get(name))


def fitting(given: Mapping[str, Any]) -> "tuple[Auth, ...]":
    """The ways to prove who a client is that what was given fits, the best first."""
    from tasks.oauth.shapes import Auth

    match named(given):
        case ():
            return (Auth.NONE, Auth.BASIC, Auth.BODY)
        case ("client_secret_file",):
            return (Auth.BASIC, Auth.BODY)
        case ("private_key_file",):
            return (Auth.PRIVATE_KEY_JWT, Auth.MTLS)
        case _:
            return (Auth.MTLS,)


def secret_in(given: Mapping[str, Any], *, auth: str) -> str | None:
    """The secret in the files that a command line names; None: it names none, and one may follow.

    Raises:
        Failure: they do not fit, or cannot be used.

    """
    files = named(given)
    if not files:
        return None
    allowed = NEEDED[auth]
    if not set(files) <= set(allowed):
        wrong = next(name for name in files if name not in allowed)
        raise misuse(
            code="secret_file",
            message=f"{_option(wrong)} does not fit a client whose auth is {auth}",
            next_step=_wanted(auth),
        )
    if auth in ("basic", "body"):
        return read_secret(given["client_secret_file"], what="client secret")
    return _pem_in({name: given[name] for name in files}, certified=auth == "mtls")


def _wanted(auth: str) -> str:
    options = " and ".join(_option(name) for name in NEEDED[auth])
    return f"give it {options}, or another --auth" if options else "give it no secret, or another --auth"


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _pem_in(files: Mapping[str, str], *, certified: bool) -> str:
    """Read a private key, and certificates; where one file holds both it need be named once."""
    from tasks.oauth import client_key
    from tasks.oauth.errors import ClientKeyError

    texts = [read_pem(path, what="private key" if "key" in name else "certificate") for name, path in files.items()]
    where = " and ".join("standard input" if path == "-" else path for path in files.values())
    try:
        return client_key.read("\n".join(texts), certified=certified, at=datetime.now(UTC)).pem
    except ClientKeyError as error:
        raise misuse(
            code=error.error, message=f"{where} cannot be used: {error}", next_step="correct that; nothing was stored"
        ) from None


def facts(known: "Known", vault: "Vault", settings: "Settings") -> dict[str, Any]:
    """What may be told of a client's key: its id, and when its certificate ends; nulls where it has none, or not here.

    A provider file that cannot be used is told by whoever needs it.
    """
    from models.sealing.keys import VaultError
    from tasks.oauth.errors import OAuthError
    from tasks.runtime.registration import Registrations

    try:
        key = Registrations(vault, settings).ready(known).registration.key
    except (VaultError, OAuthError):
        key = None
    return {"key_id": key and key.key_id, "certificate_ends_at": key and key.ends_at}


def certificates_ending(connection: "Connection", vault: "Vault", settings: "Settings") -> list[dict[str, Any]]:
    """Clients whose certificate ends soon, or has ended, as far as it can be opened here."""
    from models import client as clients
    from tasks.oauth.errors import OAuthError
    from tasks.oauth.shapes import Auth
    from tasks.runtime.registration import resolve

    found = []
    for known in clients.every(connection):
        try:
            shows_one = resolve(known.provider, known.overrides, settings).auth is Auth.MTLS
        except OAuthError:
            continue  # told by whoever sends
        ends_at = facts(known, vault, settings)["certificate_ends_at"] if shows_one else None
        if ends_at is not None and ends_at < datetime.now(UTC) + SOON:
            found.append({"name": known.name, "ends_at": ends_at})
    return sorted(found, key=lambda each: str(each["name"]))


def expect_same_kind(auth: str | None, before: str, *, name: str, has_secret: bool) -> None:
    """Let a client prove who it is in another way only where the secret that it has fits.

    Raises:
        Failure: it does not.

    """
    if auth in (None, "none") or not has_secret or NEEDED[auth] == NEEDED[before]:
        return
    options = " ".join(f"{_option(each)} FILE" for each in NEEDED[auth])
    raise Failure(
        code="secret_kind",
        message=f"The secret of {name} does not fit auth {auth}",
        next_step=f"change both at once: evergrant clients set-secret {name} --auth {auth} {options}",
    )
