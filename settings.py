"""Settings: everything that can be configured, read once from the environment and frozen.

This module is the only reader of `EVERGRANT_*` variables. Units are in the names. A process asks `current()`;
`up`, `demo` and the tests hand a changed copy to `adopt()` before anything else is made.
"""

import os
import pwd
import stat
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "EVERGRANT_"
SECRET_MASK = stat.S_IRWXO | stat.S_IWGRP
LONGEST_SOCKET_PATH = 107
LARGEST_PORT = 65535
LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Read by the client package in other applications, or by the shell's completion.
OF_OTHERS = ("CLIENT_", "TOKEN_URL", "APPLICATION_KEY", "COMPLETE")
# What a variable was called in the first release: that goes on working, and the new one wins.
FORMER = {f"{PREFIX}BATCH_SIZE": f"{PREFIX}SHEAF_SIZE"}
CLOSE = 0.8  # so alike must two names be that the one may be meant for the other


class SettingsError(Exception):
    """The environment holds a setting that cannot be used; the message lists every one of them."""

    error = "settings"
    next = "correct the environment; docs/reference/settings.md lists every variable"


def open_to_others(path: Path, *, holds_secret: bool) -> str | None:
    """Why a file or folder may not be relied on; None: it may.

    Whoever owns it or may write it says what we do, so it must be ours or root's and closed to the writes of others.
    A secret is closed to their reading, too; a group may read it, as mounted secrets have it. Pipes are not looked at.

    Raises:
        OSError: it cannot be looked at.

    """
    found = path.stat()
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        return None
    if found.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to the user {found.st_uid}, who could change it; it must be yours or root's"
    if found.st_mode & (SECRET_MASK if holds_secret else stat.S_IWOTH):
        return f"{path} is open to other users; run chmod {'o-rwx,g-w' if holds_secret else 'o-w'} {path}"
    return None


def _default_home() -> Path:
    try:
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    except RuntimeError:  # a user who is only a number, as in a container
        message = "EVERGRANT_HOME: must be set, for this user has no home folder"
        raise SettingsError(message) from None
    return Path(state) / "evergrant"


def hosts_apart(url: str) -> tuple[str, str, str]:
    """What stands before the hosts of a URL, the hosts, and what follows: the standard library reads no list of them.

    Since 3.13 it refuses one in which an IPv6 address stands in brackets.
    """
    scheme, separator, rest = url.partition("://")
    end = next((place for place, letter in enumerate(rest) if letter in "/?#"), len(rest))
    user, at, hosts = rest[:end].rpartition("@")
    return scheme + separator + user + at, hosts, rest[end:]


def _taken_apart(value: SecretStr) -> SplitResult:
    """The parts of a URL; what is said of one that has none holds no part of it, for one may be a password.

    It may name several hosts, each with its port, as libpq reads it: then a database is found after a fail-over.

    Raises:
        ValueError: its port is none.

    """
    before, hosts, after = hosts_apart(value.get_secret_value())
    try:
        parts = urlsplit(before + hosts.partition(",")[0] + after)
        for host in hosts.split(","):
            _ = urlsplit(f"//{host}").port
    except ValueError:
        parts = None
    if parts is None or "@" in parts.path:
        message = "is no URL: within a user name or a password write / : @ # ? [ ] percent-encoded, such as %2F for /"
        raise ValueError(message)
    return parts


def _database_url(value: SecretStr) -> SecretStr:
    if _taken_apart(value).scheme not in ("postgresql", "postgres"):
        message = "must start with postgresql:// (or postgres://)"
        raise ValueError(message)
    return value


def _broker_url(value: SecretStr) -> SecretStr:
    if _taken_apart(value).scheme not in ("redis", "rediss", "redis+socket"):
        message = "must start with redis://, rediss:// or redis+socket://"
        raise ValueError(message)
    return value


def _otlp_endpoint(value: str) -> str:
    """A collector's URL. What it wants to know of us goes into a header: a URL stands in logs and errors."""
    parts = _taken_apart(SecretStr(value))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        message = "must be the URL of a collector, http://host:4318 or https://…; its port for gRPC, 4317, is another"
        raise ValueError(message)
    if "@" in parts.netloc or parts.query or parts.fragment:
        message = "must hold no user, password, query or fragment: what proves who we are is OTEL_EXPORTER_OTLP_HEADERS"
        raise ValueError(message)
    return value


def bind_address(value: str) -> Path | tuple[str, int]:
    """Where to listen: an absolute path of a unix socket (`unix:` before it or not), or host and port.

    Raises:
        ValueError: it is neither.

    """
    path = Path(value.removeprefix("unix:"))
    if path.is_absolute():
        if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
            message = f"the path of a unix socket has at most {LONGEST_SOCKET_PATH} bytes"
            raise ValueError(message)
        return path
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > LARGEST_PORT:
        message = "must be the absolute path of a unix socket, or host:port such as 127.0.0.1:9465"
        raise ValueError(message)
    return host.removeprefix("[").removesuffix("]"), int(port)


def _bind(value: str) -> str:
    bind_address(value)
    return value


def _audit_file(value: str) -> str:
    path = Path(value.removeprefix("unix:"))
    if not path.is_absolute():
        message = "must be the absolute path of a file, or unix: and that of a socket"
        raise ValueError(message)
    if value.startswith("unix:"):
        bind_address(value)
    return value


def _public_url(value: str) -> str:
    parts = urlsplit(value)
    is_here = parts.scheme == "http" and parts.hostname in LOOPBACK
    if not ((parts.scheme == "https" and parts.hostname) or is_here):
        message = "must start with https:// (http:// only on loopback)"
        raise ValueError(message)
    if parts.query or parts.fragment or "@" in parts.netloc or not value.isprintable() or " " in value:
        message = "is an address such as https://connect.example.com, without a user, a query or a fragment"
        raise ValueError(message)
    return value.rstrip("/")


# The bound keeps sums with dates in range: a million seconds is 11 days, a million days 27 centuries.
Seconds = Annotated[float, Field(gt=0, le=10**6)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
BrokerUrl = Annotated[SecretStr, AfterValidator(_broker_url)]
Bind = Annotated[str, AfterValidator(_bind)]
PublicUrl = Annotated[str, AfterValidator(_public_url)]
AuditPlace = Annotated[str, AfterValidator(_audit_file)]
OtlpEndpoint = Annotated[str, AfterValidator(_otlp_endpoint)]


class Settings(BaseSettings):
    """One frozen set of settings; a field `x_seconds` is read from `EVERGRANT_X_SECONDS`."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="ignore", validate_by_name=True
    )

    database_url: DatabaseUrl | None = Field(
        None, description="PostgreSQL, `postgresql://…`; unset: the embedded one of `evergrant up`."
    )
    broker_url: BrokerUrl | None = Field(
        None, description="Redis or Valkey, `redis://…`; unset: the embedded one of `evergrant up`."
    )
    home: Path = Field(
        default_factory=_default_home,
        description="Folder of embedded engines, keys and journals; must survive a restart of the machine.",
    )
    environment: str | None = Field(
        None, description="A name such as `production`; required unless the database is embedded."
    )
    actor: str | None = Field(None, description="Who is recorded for a change; default: the OS user.")
    refresh_token_keys: SecretStr | None = Field(
        None,
        description="Key ring of refresh tokens and client secrets: `id:base64` a line, the first is active.",
    )
    refresh_token_keys_file: Path | None = Field(None, description="The same ring, read from a file.")
    refresh_token_keys_command: str | None = Field(
        None, description="The same ring, printed by this command, run without a shell; it is kept in memory alone."
    )
    access_token_keys: SecretStr | None = Field(
        None, description="Key ring for access tokens: `id:base64` a line, the first is active."
    )
    access_token_keys_file: Path | None = Field(None, description="The same ring, read from a file.")
    access_token_keys_command: str | None = Field(None, description="The same ring, printed by this command.")
    providers: Path | None = Field(
        None, description="Folder with your own provider files; default: `providers` under the home."
    )
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Least level that is logged.")

    workers: int = Field(1, ge=1, le=64, description="Worker processes that `evergrant up` starts.")
    concurrency: int = Field(8, ge=1, le=512, description="Celery threads of one worker process.")
    batch_size: int = Field(
        100,
        ge=1,
        le=500,
        validation_alias=AliasChoices(*next(iter(FORMER.items()))),
        description="Jobs of one client that a message carries at most. "
        "`EVERGRANT_SHEAF_SIZE`, its name in 0.1.0, goes on working; where both are set, this one counts.",
    )
    in_flight: int = Field(
        2000,
        ge=1,
        description="Requests that one worker process has under way at once; one client at most half of them.",
    )
    database_pool: int = Field(
        5,
        ge=1,
        description="Database connections of one process at most, in all: one for what somebody asked for, one for "
        "chores, the others for refreshes and readers. Fewer than 3 are shared, and whoever waits for a lock of "
        "somebody else's keeps the others waiting. Where there is a webhook a worker has one more, to tell it.",
    )

    token_bind: Bind | None = Field(
        None,
        description="Where `evergrant web` hands out tokens: the path of a unix socket, or host:port, which beyond "
        "loopback needs TLS; unset: nowhere.",
    )
    token_tls_certificate: Path | None = Field(
        None, description="Certificate of the token interface with its chain, a PEM file."
    )
    token_tls_key: Path | None = Field(None, description="The certificate's private key, a PEM file.")
    token_requests_per_second: float = Field(
        100,
        gt=0,
        le=10**6,
        description="What one application may ask of the token interface; ten seconds' worth at once.",
    )
    public_bind: Bind | None = Field(
        None,
        description="Where `evergrant web` leads customers through connecting, by tickets: host:port, or the path of a "
        "unix socket; beyond loopback it needs TLS, or a proxy in front of it; unset: nowhere. "
        "[How to](../howto/connect-your-customers.md).",
    )
    public_url: PublicUrl | None = Field(
        None,
        description="The address by which customers reach that, such as `https://connect.example.com`; providers know "
        "it, with `/callback`, as redirect URI.",
    )
    public_tls_certificate: Path | None = Field(
        None, description="Certificate of the public listener with its chain, a PEM file."
    )
    public_tls_key: Path | None = Field(None, description="The certificate's private key, a PEM file.")
    public_behind_proxy: bool = Field(
        False,
        description="Whether a proxy that ends TLS stands in front of the public listener: its `X-Forwarded-Proto` "
        "must say `https` then, and the last address of its `X-Forwarded-For` is the customer's; else nobody believes "
        "them.",
    )
    audit_file: AuditPlace | None = Field(
        None,
        description="A JSON line for each hand-out of a token and each change: a file, or `unix:` and a collector's "
        "socket. Where it cannot be written nothing is handed out and nothing changed; unset: nowhere. "
        "[What a line says](audit.md).",
    )
    ops_bind: Bind = Field(
        "127.0.0.1:9464",
        description="Where `evergrant web` tells operators how it goes: fleet page, `/metrics`, `/healthz`, `/readyz`.",
    )
    metrics_port: int = Field(
        0,
        ge=-1,
        le=LARGEST_PORT,
        description="Where each worker and beat serves its own `/metrics`, on 127.0.0.1: the first port from this one "
        "on that is free; 0: any, -1: nowhere. `evergrant status` shows which.",
    )
    ops_password_file: Path | None = Field(
        None, description="Password of the operators' listener, any user name; needed beyond loopback."
    )
    otlp_endpoint: OtlpEndpoint | None = Field(
        None,
        description="Where workers and beats send a span of each step of a refresh: an OpenTelemetry collector, OTLP "
        "over HTTP, `http://collector:4318`; needs `evergrant[otlp]`; unset: nowhere. "
        "[What a span says](../howto/trace-refreshes.md).",
    )

    dispatch_lease_seconds: Seconds = Field(30, description="How long a claim waits for a worker.")
    attempt_lease_seconds: Seconds = Field(60, description="How long a started attempt is left alone.")
    http_deadline_seconds: Seconds = Field(30, description="Total time of one request to a provider.")
    beat_interval_seconds: Seconds = Field(0.5, description="Longest time between two looks of beat.")
    backoff_first_seconds: Seconds = Field(5, description="First wait of a failing grant; doubles each time.")
    backoff_cap_seconds: Seconds = Field(300, description="Longest wait of a failing grant.")
    suspect_wait_seconds: Seconds = Field(
        600, description="A refused refresh token is asked again after this (or a quarter of its life)."
    )
    horizon_hours: Seconds = Field(24, description="A grant that failed this long becomes a dead letter.")
    dead_token_days: Seconds = Field(30, description="How long the sealed tokens of a dead grant are kept.")
    incident_seconds: Seconds = Field(
        15, description="How long nothing is sent after a restore or a fail-over, at the least."
    )
    journal_hours: Seconds = Field(48, description="How long a settled answer stays in the journal.")

    @property
    def who(self) -> str:
        """The name that is recorded with a change; a container's user may be a mere number."""
        try:
            return self.actor or pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            return f"uid {os.getuid()}"

    @property
    def wants_web(self) -> bool:
        """Whether `evergrant up` runs a web process: somebody has said where it should listen."""
        return self.token_bind is not None or self.public_bind is not None or "ops_bind" in self.model_fields_set

    @property
    def provider_folder(self) -> Path:
        """Where provider files of the user's own are looked for before the bundled ones."""
        return self.providers or self.home / "providers"

    @property
    def dispatch_lease(self) -> timedelta:
        """How long a claim waits for a worker before it may be claimed again."""
        return timedelta(seconds=self.dispatch_lease_seconds)

    @property
    def suspect_wait(self) -> timedelta:
        """How long a grant whose refresh token was refused waits before it is asked again."""
        return timedelta(seconds=self.suspect_wait_seconds)

    @property
    def horizon(self) -> timedelta:
        """How long a grant may fail before a dead letter is written."""
        return timedelta(hours=self.horizon_hours)


_current: list[Settings] = []


def current() -> Settings:
    """The settings of this process, read from the environment at the first call.

    Raises:
        SettingsError: a variable cannot be used; every one is named.

    """
    if not _current:
        _current.append(load())
    return _current[0]


def adopt(settings: Settings) -> None:
    """Let this process use `settings` from now on."""
    _current[:] = [settings]


def load() -> Settings:
    """Read the environment.

    Raises:
        SettingsError: a variable cannot be used; every one is named.

    """
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from None


def unknown_variables() -> dict[str, str | None]:
    """Variables with our prefix that are no setting, and so are ignored, each with the one that may be meant."""
    known = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    ignored = {name.upper() for name in os.environ if name.upper().startswith(PREFIX)}
    unknown = sorted(ignored - {*known, *FORMER.values()})
    ours = [name for name in unknown if not name.removeprefix(PREFIX).startswith(OF_OTHERS)]
    return {name: next(iter(get_close_matches(name, known, n=1, cutoff=CLOSE)), None) for name in ours}


def _sentence(error: ValidationError) -> str:
    """Name every bad variable without repeating its value, which may be a secret."""
    reasons = [f"{_variable(str(e['loc'][0]))}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors()]
    return "; ".join(reasons)


def _variable(field: str) -> str:
    """The variable that holds a field's value: under its former name where only that one is set."""
    name = f"{PREFIX}{field.upper().removeprefix(PREFIX)}"
    given = {each.upper() for each, value in os.environ.items() if value}
    return FORMER[name] if name not in given and FORMER.get(name) in given else name
