"""A provider: an authorization server and its habits, read from a TOML file and validated.

Every habit is a field with a default, so no provider is special in code. The folder of the user's own files wins
over the bundled one. docs/reference/provider-file.md lists every field.
"""

import re
import tomllib
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from tasks.oauth.errors import ProviderFileError, UnknownProvider
from tasks.oauth.rotation import Rotation

BUNDLED = Path(__file__).parent / "providers"
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
# What we send ourselves at the authorize endpoint: an extra parameter must not replace it.
OURS = frozenset(
    {"response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method"}
)
MOST_PER_MINUTE = 1_000_000
MINUTES = {"second": 1 / 60, "minute": 1.0, "hour": 60.0, "day": 1440.0}


class Body(StrEnum):
    """How a request to the token endpoint is written."""

    JSON = "json"  # Doorkeeper and Event Temple take it; strict RFC 6749 servers do not
    FORM = "form"  # RFC 6749 §4.1.3


class Auth(StrEnum):
    """How the client proves who it is (RFC 6749 §2.3.1)."""

    BODY = "body"  # client_id and client_secret are members of the body
    BASIC = "basic"  # the Authorization header, and then nothing in the body


class Reach(StrEnum):
    """What one revocation kills."""

    TOKEN = "token"  # noqa: S105 (the pair that the token belongs to)
    GRANT = "grant"  # everything that this user ever gave to this client, a newer consent included


def _url(value: str) -> str:
    """Let pass an absolute https URL, or http on loopback, that can be sent as it is written."""
    if not value.isascii() or re.search(r"[\x00-\x20\x7f\"<>\\^`{|}]", value):
        message = "holds characters that must be percent-encoded"
        raise ValueError(message)
    parts = urlsplit(value)
    _ = parts.port  # raises ValueError where it is no port
    if parts.scheme not in ("http", "https") or not parts.hostname:
        message = "must be an absolute https:// URL"
        raise ValueError(message)
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        message = "plain http:// is allowed on loopback only (127.0.0.0/8, ::1, localhost): use https://"
        raise ValueError(message)
    if parts.fragment or "@" in parts.netloc:
        message = "must have neither a fragment nor a user name"
        raise ValueError(message)
    return value


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def requests_per_minute(value: object) -> object:
    """Read `100/minute`, `5/second`, `1000/hour`, `none` or a number of requests a minute.

    Raises:
        ValueError: it is none of these.

    """
    if not isinstance(value, str):
        return value
    if value.strip().lower() in ("none", ""):
        return None
    amount, _, unit = value.partition("/")
    try:
        return float(amount) / MINUTES[unit.strip().lower() or "minute"]
    except (ValueError, KeyError):
        message = f"{value!r} is no rate: write it like 100/minute, 5/second or none"
        raise ValueError(message) from None


def _plausible_rate(value: float) -> float:
    """Let pass what can be counted: intervals of microseconds, or of years, are typing errors."""
    if not 1 / MINUTES["day"] <= value <= MOST_PER_MINUTE:
        message = "must be between 1/day and 1000000/minute, or none"
        raise ValueError(message)
    return value


def _header_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", value):
        message = f"{value!r} is no header name"
        raise ValueError(message)
    return value


def _header_value(value: str) -> str:
    if not re.fullmatch(r"[\x20-\x7e]*", value):
        message = "a header's value must be printable ASCII"
        raise ValueError(message)
    return value


Url = Annotated[str, AfterValidator(_url)]
PerMinute = Annotated[float, AfterValidator(_plausible_rate)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValue = Annotated[str, AfterValidator(_header_value)]


class Provider(BaseModel):
    """One authorization server's habits, with the overrides of one client where there are any."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    name: str
    """The file's name without its ending."""
    title: str = ""
    """One line for people."""

    authorize_url: Url | None = None
    """Where the user is sent to consent."""
    token_url: Url | None = None
    """Where codes are exchanged and refresh tokens used."""
    revoke_url: Url | None = None
    """Where tokens are revoked (RFC 7009); absent: revocation is not supported."""
    api_url: Url | None = None
    """An address of the API that answers 401 to a dead access token and 2xx to a living one, by GET."""
    confirm_url: Url | None = None
    """Where a new access token is presented once after it was stored; useful at `on_use` only."""

    body: Body = Body.FORM
    """How requests to the token and revocation endpoints are written: `json` or `form`."""
    auth: Auth = Auth.BODY
    """Where the client's credentials go: `body` or `basic`."""
    basic_encoded: bool = True
    """Whether id and secret are form-encoded before Basic, as RFC 6749 §2.3.1 wants; many servers do not decode."""
    scopes: tuple[str, ...] = ()
    """What is asked for at the authorize endpoint; never sent on a refresh."""
    scope_separator: str = Field(" ", min_length=1, max_length=1)
    """What stands between scopes in the authorize URL."""
    pkce: bool = True
    """Whether a code challenge is sent (RFC 7636)."""
    authorize_parameters: dict[str, str] = Field(default_factory=dict)
    """Further parameters of the authorize URL, e.g. `access_type = "offline"`."""
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    """Headers of API calls made from labels, e.g. `X-API-ORG = "{org}"`."""

    rotation: Rotation = Rotation.FAMILY
    """What happens to the old refresh token: `none`, `on_use`, `grace`, `immediate` or `family`."""
    grace_seconds: Positive | None = None
    """How long the old refresh token lives at `grace`."""
    default_life_seconds: Positive = 3600
    """An access token's life where the answer has no `expires_in`."""
    idle_refresh_days: Positive = 7
    """How often a grant kept on demand is refreshed at least: half the refresh token's known life."""
    rate: Annotated[PerMinute | None, BeforeValidator(requests_per_minute)] = None
    """Requests a minute that the client may send, all kinds together; absent: no limit."""
    burst: int | None = Field(None, ge=1)
    """Requests under way at once; absent: see `allowed_burst`."""
    retry_after_header: HeaderName = "Retry-After"
    """The header of a 429 or 503 that says how long to wait, in seconds or as a date."""
    deadline_seconds: Positive | None = None
    """Total time of one request; absent: the setting `http_deadline_seconds`."""

    probe: bool = False
    """Whether a refresh with a never-granted scope consumes nothing, so that it may be used to look."""
    probe_scope: str = Field("evergrant_never_granted", pattern=r"^[\x21\x23-\x5b\x5d-\x7e]+$")
    """The scope that a probe asks for; it must never have been granted."""
    revocation: Reach = Reach.GRANT
    """What one revocation kills: the `token`'s own pair, or the whole `grant`."""
    revoke_hint: bool = True
    """Whether a revocation sends `token_type_hint` (RFC 7009 §2.1)."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.rotation is Rotation.GRACE and self.grace_seconds is None:
            message = 'rotation "grace" needs grace_seconds'
            raise ValueError(message)
        if taken := OURS & self.authorize_parameters.keys():
            message = f"authorize_parameters must not set {', '.join(sorted(taken))}"
            raise ValueError(message)
        return self

    @property
    def grace(self) -> timedelta | None:
        """How long the old refresh token lives on; None where it does not, or for as long as it likes."""
        if self.rotation is not Rotation.GRACE or self.grace_seconds is None:
            return None
        return timedelta(seconds=self.grace_seconds)

    @property
    def allowed_burst(self) -> int:
        """Requests of one client that may be under way at once: what an hour of lost answers may cost."""
        if self.burst is not None:
            return self.burst
        lost_for_good = self.rotation in (Rotation.GRACE, Rotation.IMMEDIATE, Rotation.FAMILY)
        return 2000 if self.rate is None and not lost_for_good else 20

    def with_overrides(self, **overrides: Any) -> Self:
        """Return a checked copy in which a client's own values replace those of the file.

        Raises:
            ProviderFileError: a value cannot be used, or there is no such field.

        """
        return self.__class__.checked(
            f"overrides of provider {self.name!r}", self.model_dump() | overrides | {"name": self.name}
        )

    @classmethod
    def checked(cls, where: str, values: dict[str, Any]) -> Self:
        """Make a provider of `values`, or say all that is wrong with them.

        Raises:
            ProviderFileError: a value cannot be used, or there is no such field.

        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ProviderFileError(where, [_reason(e) for e in error.errors()]) from None


def _reason(error: Any) -> str:
    field = ".".join(str(part) for part in error["loc"])
    text = error["msg"].removeprefix("Value error, ")
    return f"{field}: {text}" if field else text


def names(*, folder: Path) -> list[str]:
    """Name every provider that `load` can read, the user's own and the bundled ones, sorted."""
    found = {path.stem for place in (folder, BUNDLED) for path in place.glob("*.toml")}
    return sorted(name for name in found if NAME.fullmatch(name))


def load(name: str, *, folder: Path) -> Provider:
    """Read the provider file `name`, from the user's own `folder` first, then from the bundled ones.

    Raises:
        UnknownProvider: no file has that name.
        ProviderFileError: the file cannot be read or used.

    """
    if name not in names(folder=folder):
        raise UnknownProvider(name, names(folder=folder))
    path = next(p for place in (folder, BUNDLED) if (p := place / f"{name}.toml").is_file())
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ProviderFileError(str(path), [str(error)]) from None
    if "name" in values:
        raise ProviderFileError(str(path), ["name: the file's own name is the provider's name"])
    return Provider.checked(str(path), values | {"name": name})


@dataclass(frozen=True, slots=True)
class AttemptTimes:
    """How long one attempt may take, and how long it is left alone."""

    deadline: timedelta
    lease: timedelta


def attempt_times(
    provider: Provider, *, deadline: timedelta, lease: timedelta, slack: timedelta = timedelta(seconds=2)
) -> AttemptTimes:
    """Derive the HTTP deadline and the attempt lease from the provider and the process's defaults.

    A provider's own deadline keeps the defaults' proportion of lease to deadline. With a grace of s seconds the
    deadline is at most s/4 and the lease at most s/2, so that one repeat ends inside s. The lease
    is always longer than deadline and slack together; a short grace shortens the slack.
    """
    own = timedelta(seconds=provider.deadline_seconds) if provider.deadline_seconds else deadline
    left_alone = max(lease * (own / deadline), own + slack + timedelta(seconds=1))
    if provider.grace is None:
        return AttemptTimes(own, left_alone)
    return AttemptTimes(min(own, provider.grace / 4), min(left_alone, provider.grace / 2))
