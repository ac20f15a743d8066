"""A client's row made ready to send with, once until it changes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from models.client import Known
from models.sealing.keys import VaultError
from models.sealing.vault import KeyRing, Vault
from settings import Settings
from tasks.oauth.errors import OAuthError, ProviderFileError, UnknownProvider
from tasks.oauth.rotation import Rotation
from tasks.runtime.registration import Registrations, resolve, times_of

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECRET = "s3cr3t-of-the-client"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        home=tmp_path,
        refresh_token_keys=SecretStr(KeyRing.generate_line("r1")),
        access_token_keys=SecretStr(KeyRing.generate_line("a1")),
    )


@pytest.fixture
def vault(settings: Settings) -> Vault:
    return Vault.from_settings(settings)


@pytest.fixture
def known(vault: Vault) -> Known:
    return Known(
        id=1,
        name="temple",
        provider="event-temple",
        overrides={"rate": 50},
        client_id="our-id",
        sealed_client_secret=vault.seal(SECRET, table="clients", row_id=1, purpose="secret"),
        credentials_no=1,
        redirect_uri="https://us.example/callback",
        attempt_lease=timedelta(minutes=1),
        keep="warm",
        updated_at=NOW,
        proven=False,
    )


def test_a_row_becomes_a_registration_with_its_overrides_and_its_secret(
    vault: Vault, settings: Settings, known: Known
) -> None:
    ready = Registrations(vault, settings).ready(known)

    assert (ready.registration.client_id, ready.registration.client_secret) == ("our-id", SECRET)
    assert ready.registration.redirect_uri == "https://us.example/callback"
    assert (ready.provider.name, ready.provider.rate) == ("event-temple", 50)
    assert ready.times == times_of(ready.provider, settings)
    assert SECRET not in repr(ready)


def test_what_was_made_ready_is_used_again_but_facts_that_change_by_themselves_are_fresh(
    vault: Vault, settings: Settings, known: Known
) -> None:
    registrations = Registrations(vault, settings)
    first, second = registrations.ready(known), registrations.ready(replace(known, proven=True))

    assert second.registration is first.registration
    assert (first.known.proven, second.known.proven) == (False, True)


def test_a_row_that_changed_is_made_ready_anew(vault: Vault, settings: Settings, known: Known) -> None:
    registrations = Registrations(vault, settings)
    registrations.ready(known)
    sealed = vault.seal("a new secret", table="clients", row_id=1, purpose="secret")
    changed = replace(known, sealed_client_secret=sealed, credentials_no=2, updated_at=NOW + timedelta(seconds=1))

    assert registrations.ready(changed).registration.client_secret == "a new secret"


def test_two_clients_are_never_mixed_up(vault: Vault, settings: Settings, known: Known) -> None:
    registrations = Registrations(vault, settings)
    sealed = vault.seal("another", table="clients", row_id=2, purpose="secret")
    other = replace(known, id=2, client_id="another-id", sealed_client_secret=sealed)

    assert registrations.ready(known).registration.client_secret == SECRET
    assert registrations.ready(other).registration.client_secret == "another"


def test_a_public_client_has_no_secret(vault: Vault, settings: Settings, known: Known) -> None:
    ready = Registrations(vault, settings).ready(replace(known, sealed_client_secret=None))

    assert ready.registration.client_secret == ""


def test_the_secret_of_another_client_does_not_open(vault: Vault, settings: Settings, known: Known) -> None:
    with pytest.raises(VaultError):
        Registrations(vault, settings).ready(replace(known, id=2))


def test_a_failure_is_not_remembered(vault: Vault, settings: Settings, known: Known) -> None:
    registrations = Registrations(vault, settings)
    with pytest.raises(VaultError):
        registrations.ready(replace(known, sealed_client_secret=b"\x01\x02r1broken"))

    assert registrations.ready(known).registration.client_secret == SECRET


WRONG: dict[str, tuple[str, dict[str, object], type[OAuthError]]] = {
    "no such provider": ("nobody", {}, UnknownProvider),
    "an override of nothing": ("event-temple", {"colour": "red"}, ProviderFileError),
    "an override that does not fit": ("event-temple", {"rotation": "sometimes"}, ProviderFileError),
    "plain http beyond loopback": ("event-temple", {"token_url": "http://api.example/token"}, ProviderFileError),
}


@pytest.mark.parametrize(("name", "overrides", "error"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_used_is_an_oauth_error(
    settings: Settings, name: str, overrides: dict[str, object], error: type[OAuthError]
) -> None:
    with pytest.raises(error):
        resolve(name, overrides, settings)


def test_the_users_own_provider_file_wins(settings: Settings) -> None:
    settings.provider_folder.mkdir()
    (settings.provider_folder / "event-temple.toml").write_text('rotation = "immediate"\n')

    assert resolve("event-temple", {}, settings).rotation is Rotation.IMMEDIATE


def test_the_times_of_an_attempt_follow_the_settings_and_the_grace(settings: Settings) -> None:
    usual = times_of(resolve("event-temple", {}, settings), settings)
    grace = times_of(resolve("event-temple", {"rotation": "grace", "grace_seconds": 40}, settings), settings)

    assert (usual.deadline, usual.lease) == (timedelta(seconds=30), timedelta(seconds=60))
    assert (grace.deadline, grace.lease) == (timedelta(seconds=10), timedelta(seconds=20))
