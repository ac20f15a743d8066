"""Registrations: a client's row made ready to send with: provider file, overrides, opened secret, time limits."""

import json
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import settings as configuration
from models.client import Known
from models.sealing.vault import Vault
from tasks.oauth import provider as providers
from tasks.oauth.attempt_times import AttemptTimes, attempt_times
from tasks.oauth.errors import ProviderFileError
from tasks.oauth.messages import Registration
from tasks.oauth.provider import Provider
from tasks.oauth.shapes import Auth

if TYPE_CHECKING:  # it brings cryptography, and few clients have a key
    from tasks.oauth.client_key import ClientKey

# The number of credentials that are not the client's yet: what succeeds under them proves nothing of the present ones.
ON_TRIAL = 0
# A file may be written twice within one tick of the file system's clock: what is younger than this is read anew.
SETTLED_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Registered:
    """Who we are at a provider, and how long one attempt may take there."""

    known: Known
    registration: Registration
    times: AttemptTimes

    @property
    def provider(self) -> Provider:
        """The provider's habits, with this client's overrides."""
        return self.registration.provider


class Registrations:
    """The registrations that a process has made ready, each until its row changes."""

    def __init__(self, vault: Vault, settings: configuration.Settings) -> None:
        self._vault = vault
        self._settings = settings
        self._ready: dict[int, tuple[datetime, Registered]] = {}

    def ready(self, known: Known) -> Registered:
        """Make a client's row ready to send with.

        Raises:
            KeyMissing, SealBroken: the secret cannot be opened here.
            ProviderFileError, UnknownProvider: the provider file is gone or wrong.

        """
        cached = self._ready.get(known.id)
        if cached is not None and cached[0] == known.updated_at:
            return Registered(known, cached[1].registration, cached[1].times)
        made = self._make(known)
        self._ready[known.id] = (known.updated_at, made)
        return made

    def on_trial(self, known: Known) -> Registered:
        """Make a client's row ready to send with the newer secret, which was refused before.

        Raises:
            KeyMissing, SealBroken, ProviderFileError, UnknownProvider, ClientKeyError: it cannot be used here.

        """
        return self._make(replace(known, sealed_client_secret=known.sealed_former_secret, credentials_no=ON_TRIAL))

    def _make(self, known: Known) -> Registered:
        provider = resolve(known.provider, known.overrides, self._settings)
        secret = ""
        if known.sealed_client_secret is not None:
            secret = self._vault.open(known.sealed_client_secret, table="clients", row_id=known.id, purpose="secret")
        key = key_in(secret, auth=provider.auth)
        registration = Registration(provider, known.client_id, secret, known.redirect_uri, tuple(known.scopes), key)
        return Registered(known, registration, times_of(provider, self._settings))


def key_in(secret: str, *, auth: Auth) -> "ClientKey | None":
    """The private key that a client's secret is, where its `auth` needs one and there is a secret.

    Raises:
        ClientKeyError: it is something else.

    """
    if auth not in (Auth.PRIVATE_KEY_JWT, Auth.MTLS) or not secret:
        return None
    from tasks.oauth import client_key

    return client_key.read(secret, certified=auth is Auth.MTLS)


def resolve(name: str, overrides: dict[str, object], settings: configuration.Settings) -> Provider:
    """Read a provider file and lay a client's overrides over it.

    Raises:
        ProviderFileError, UnknownProvider: the file is gone or wrong, others may write it, or an override does not fit.

    """
    path = providers.find(name, folder=settings.provider_folder)
    _refuse_open(settings.provider_folder / f"{name}.toml")
    with suppress(OSError):
        found = path.stat()
        if time.time() - max(found.st_mtime, found.st_ctime) > SETTLED_SECONDS:
            version = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)  # a copy may keep its mtime
            return _read_once(path, version, json.dumps(overrides))
    return _read(path, overrides)


@lru_cache(maxsize=256)
def _read_once(path: Path, version: tuple[int, ...], overrides: str) -> Provider:
    """To read a file and check it costs a millisecond, and a customer's way to the provider needs it on each page."""
    del version
    return _read(path, json.loads(overrides))


def _read(path: Path, overrides: dict[str, object]) -> Provider:
    provider = providers.read(path)
    return provider.with_overrides(**overrides) if overrides else provider


def _refuse_open(file: Path) -> None:
    """Whoever may write a provider's file, where there is one of the user's own, says where refresh tokens are sent."""
    for each in (file, file.parent) if file.exists() else ():
        if (fault := configuration.open_to_others(each, holds_secret=False)) is not None:
            raise ProviderFileError(str(file), [fault])


def times_of(provider: Provider, settings: configuration.Settings) -> AttemptTimes:
    """How long one attempt may take at this provider, and how long it is left alone."""
    return attempt_times(
        provider,
        deadline=timedelta(seconds=settings.http_deadline_seconds),
        lease=timedelta(seconds=settings.attempt_lease_seconds),
    )
