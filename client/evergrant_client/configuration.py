"""Where tokens come from: arguments first, else the environment. The only reader of `EVERGRANT_*` in this package."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from evergrant_client.errors import NotConfigured
from evergrant_client.sealed import KeyRing

DSN = "EVERGRANT_CLIENT_DSN"
KEYS = "EVERGRANT_ACCESS_TOKEN_KEYS"
URL = "EVERGRANT_TOKEN_URL"
APPLICATION_KEY = "EVERGRANT_APPLICATION_KEY"
MADE_BY = "a key that `evergrant apps add` has made"


@dataclass(frozen=True, slots=True)
class OverSQL:
    """The database, and the keys that open what its view shows."""

    dsn: str = field(repr=False)
    keys: KeyRing


@dataclass(frozen=True, slots=True)
class OverHTTP:
    """The token interface, and the key of this application."""

    url: str
    key: str = field(repr=False)


def configuration(
    *, dsn: str | None, access_keys: str | None, token_url: str | None, application_key: str | None
) -> OverSQL | OverHTTP:
    """Choose between database and token interface.

    Raises:
        NotConfigured: neither or both are named, or the keys are missing.

    """
    if dsn is None and token_url is None:
        dsn, token_url = os.environ.get(DSN) or None, os.environ.get(URL) or None
    if (dsn is None) == (token_url is None):
        said = f"Neither {DSN} nor {URL} is set" if dsn is None else f"Both {DSN} and {URL} are set"
        message = f"{said}: set the one of the two that this application uses."
        raise NotConfigured(message)
    if dsn is not None:
        return OverSQL(_checked(dsn), _ring(access_keys))
    assert token_url is not None  # noqa: S101  # exactly one is set
    return OverHTTP(token_url, _key(application_key))


def _key(given: str | None) -> str:
    """An application's key; what cannot be one would be repeated by whoever refuses to send it."""
    key = given or _secret(APPLICATION_KEY, MADE_BY)
    if not re.fullmatch(r"[!-~]+", key):
        message = f"{APPLICATION_KEY}, or its file, holds no application key: set it to {MADE_BY}."
        raise NotConfigured(message)
    return key


def _checked(dsn: str) -> str:
    try:
        conninfo_to_dict(dsn)
    except ProgrammingError:
        # Its own message repeats what it could not read, and that may be a password.
        message = f"{DSN} cannot be read: write it as postgresql://user@host/database, or host=… dbname=… user=…."
        raise NotConfigured(message) from None
    return dsn


def _ring(access_keys: str | None) -> KeyRing:
    if access_keys is not None:
        return KeyRing(lambda: access_keys, name="access_keys")
    if os.environ.get(KEYS):
        return KeyRing(lambda: _secret(KEYS, "the access key ring"), name=KEYS)
    return KeyRing(lambda: _secret(KEYS, "the access key ring"), name=f"{KEYS}_FILE")


def _secret(name: str, what: str) -> str:
    """A secret from its variable, or from the file that the variable with `_FILE` names."""
    if value := os.environ.get(name):
        return value.strip()
    path = os.environ.get(f"{name}_FILE")
    if not path:
        message = f"{name} is not set: set it, or {name}_FILE, to {what}."
        raise NotConfigured(message)
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        message = (
            f"{name}_FILE cannot be read ({type(error).__name__}: {path}): set it to a file that this user may read."
        )
        raise NotConfigured(message) from None
