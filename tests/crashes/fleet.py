"""The installation that is struck: engines, a provider of each profile, a client at each, grants that come and go."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

import settings
from models import database, installation, migrations, operator_actions
from models.sealing.vault import KeyRing, Vault
from simulator.control import SimulatorControl
from simulator.launch import simulator_process
from tasks.runtime import registration
from worker.cli.imports.batches import Intake, Tally
from worker.cli.imports.lines import Offered
from worker.embedded.engines import Engines

PROFILES: Final = ("none", "on_use", "grace", "immediate", "family")
LIFE: Final = 8.0  # seconds of an access token
GRACE: Final = 30
LEASE: Final = 4.0  # of an attempt: what the deadline below makes of it
REDIRECT_URI: Final = "http://127.0.0.1:8400/callback"
SECRET: Final = "not-a-secret"

# Short lives, short leases: the ways are the same.
SETTINGS: Final = {
    "environment": "crashes",
    "concurrency": "3",
    "batch_size": "4",
    "dispatch_lease_seconds": "3",
    "attempt_lease_seconds": "4",
    "http_deadline_seconds": "1",
    "beat_interval_seconds": "0.2",
    "backoff_first_seconds": "0.5",
    "backoff_cap_seconds": "2",
    "suspect_wait_seconds": "1",
    "journal_hours": "0.004",
    "log_level": "INFO",
}
PROVIDER: Final = """
title = "A simulator with a short deadline"
authorize_url = "{url}/oauth/authorize"
token_url = "{url}/oauth/token"
revoke_url = "{url}/oauth/revoke"
api_url = "{url}/v2/bookings"
{confirm}
body = "json"
scopes = ["crm_read", "crm_manage"]
scope_separator = ","
headers = {{ X-API-ORG = "org-1" }}
rotation = "{rotation}"
{grace}
probe = {probe}
revocation = "token"
deadline_seconds = 1
default_life_seconds = 60
"""


@dataclass
class Member:
    """Our client at the provider of one profile."""

    profile: str
    client_id: int
    control: SimulatorControl
    intake: Intake
    minted: int = 0
    refs: set[str] = field(default_factory=set)  # those that nobody asked to end

    def mint(self, count: int, *, paused: bool = False, **more: Any) -> list[str]:
        """New consents, taken over like an import."""
        refs = [f"{self.profile}-{number}" for number in range(self.minted, self.minted + count)]
        self.minted += count
        rows = self.control.mint("crashes", refs=refs, orgs=["org-1"], **more)
        offered = [_offered(number, row) for number, row in enumerate(rows, 1)]
        intake = self.intake if not paused else _paused(self.intake)
        assert not intake.take(offered, Tally())
        return refs


def _offered(line: int, row: dict[str, Any]) -> Offered:
    created = datetime.fromtimestamp(row["created_at"], UTC)
    return Offered(
        line=line,
        ref=row["ref"],
        refresh_token=row["refresh_token"],
        access_token=row["access_token"],
        scope=row["scope"],
        labels={},
        expires_at=created + timedelta(seconds=row["expires_in"]),
        life=timedelta(seconds=row["expires_in"]),
    )


def _paused(intake: Intake) -> Intake:
    return Intake(
        intake.client_id, intake.provider, intake.vault, intake.who, paused=True, replace=False, dry_run=False
    )


class Fleet:
    """Everything that is not struck: made once, used by all rounds."""

    def __init__(self, folder: Path, *, profiles: Sequence[str] = PROFILES, seed: int = 0) -> None:
        self.home = folder / "home"
        self.profiles = profiles
        self.members: dict[str, Member] = {}
        self._seed = seed
        self._closing = ExitStack()
        self._vault: Vault | None = None
        self._connection: psycopg.Connection[dict[str, Any]] | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._closing.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        database.dispose()
        self._closing.close()

    def _start(self) -> None:
        for name in ("", "providers", "logs", "traces"):
            (self.home / name).mkdir(mode=0o700, parents=True)
        engines = self._closing.enter_context(Engines(self.home / "engines"))
        os.environ |= {f"EVERGRANT_{name.upper()}": value for name, value in self._settings(engines).items()}
        settings.adopt(settings.load())
        self._vault = Vault.from_settings(settings.current())
        migrations.upgrade()
        with database.transaction() as connection:
            installation.remember(connection, installation.observed(connection, "crashes"), who="crashes")
        for number, profile in enumerate(self.profiles):
            self.members[profile] = self._join(profile, number)

    def _settings(self, engines: Engines) -> dict[str, str]:
        assert engines.database_url
        assert engines.broker_url
        rings = {f"{ring}_token_keys": KeyRing.generate_line(f"{ring}1") for ring in ("refresh", "access")}
        where = {"home": str(self.home), "database_url": engines.database_url, "broker_url": engines.broker_url}
        return SETTINGS | where | rings

    def _join(self, profile: str, number: int) -> Member:
        """Start a provider of one profile and register a client with it."""
        simulated = f"grace:{GRACE}" if profile == "grace" else profile
        lifetime = timedelta(seconds=LIFE)
        options = {"profile": simulated, "lifetime": lifetime, "seed": 1000 * self._seed + number}
        control = self._closing.enter_context(simulator_process(**options))
        control.create_client("crashes", SECRET, redirect_uri=REDIRECT_URI)
        (self.home / "providers" / f"crash-{profile}.toml").write_text(
            PROVIDER.format(
                url=control.url,
                rotation=profile,
                grace=f"grace_seconds = {GRACE}" if profile == "grace" else "",
                confirm=f'confirm_url = "{control.url}/oauth/token/info"' if profile == "on_use" else "",
                probe="true" if profile in ("on_use", "immediate") else "false",
            ),
            encoding="utf-8",
        )
        client_id = self._add_client(profile)
        provider = registration.resolve(f"crash-{profile}", {}, settings.current())
        intake = Intake(client_id, provider, self.vault, "crashes", paused=False, replace=False, dry_run=False)
        return Member(profile, client_id, control, intake)

    def _add_client(self, profile: str) -> int:
        provider = registration.resolve(f"crash-{profile}", {}, settings.current())
        times = registration.times_of(provider, settings.current())
        assert times.lease.total_seconds() == LEASE, times
        made = operator_actions.Registration(
            provider=f"crash-{profile}",
            overrides={},
            client_id="crashes",
            redirect_uri=REDIRECT_URI,
            scopes=[],
            return_to=None,
            keep="warm",
            rotation=profile,
            rate_per_minute=None,
            burst=2000,
            attempt_lease=times.lease,
            grace=provider.grace,
            revocation_limit=1_000_000,
        )
        with database.transaction() as connection:
            client_id = operator_actions.add_client(connection, profile, made, who="crashes")
            secret = self.vault.seal(SECRET, table="clients", row_id=client_id, purpose="secret")
            operator_actions.set_client_secret(connection, client_id, secret, who="crashes")
        return client_id

    @property
    def vault(self) -> Vault:
        """The keys of this installation."""
        assert self._vault is not None
        return self._vault

    def rows(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        """Carry out one statement, in a connection that no fail-point knows."""
        if self._connection is None or self._connection.closed:
            url = settings.current().database_url
            assert url is not None
            self._connection = self._closing.enter_context(
                psycopg.connect(url.get_secret_value(), autocommit=True, row_factory=dict_row)
            )
        found = self._connection.execute(statement.encode(), parameters)
        return found.fetchall() if found.description else []

    def open(self, grant_id: UUID, sealed: bytes) -> str:
        """Open a refresh token."""
        return self.vault.open(bytes(sealed), table="grants", row_id=grant_id, purpose="refresh")

    def request_revocation(self, profile: str, ref: str) -> None:
        """Ask for a grant's end as another application does."""
        self.members[profile].refs.discard(ref)
        self.rows("select evergrant.request_revocation(ref => %(ref)s, client => %(client)s)", ref=ref, client=profile)
