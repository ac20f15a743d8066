"""A provider: an authorization server and its habits, read from a TOML file and validated.

Every habit is a field with a default, so no provider is special in code. The folder of the user's own files wins
over the bundled one. docs/reference/provider-file.md lists every field.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from tasks.oauth.errors import ProviderFileError, UnknownProvider
from tasks.oauth.fields import (
    ACCESS_TOKEN,
    Address,
    ApiHeader,
    HeaderName,
    HeaderValue,
    Host,
    Label,
    PathOfMany,
    PerMinute,
    Positive,
    Url,
    is_address,
    is_loopback,
    is_within,
    labels_of,
    leaves_host_open,
    requests_per_minute,
)
from tasks.oauth.fields import Path as PathInAnswer
from tasks.oauth.notices import Notice
from tasks.oauth.rotation import Rotation
from tasks.oauth.rules import Asked, Rule
from tasks.oauth.shapes import Auth, Basic, Body, Kind, LifeFrom, Method, Presented, Reach, RevokeAuth, RevokeBody
from tasks.oauth.token_paths import SecondTokenSet, TokenPaths
from tasks.oauth.words import never_heard

BUNDLED = Path(__file__).parent / "providers"
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
CLIENT_ID = "client_id"  # what a revocation may leave open beside labels; and TOKEN in its address
TOKEN = "token"  # noqa: S105  # a name
ADDRESSES = (
    "authorize_url",
    "token_url",
    "refresh_url",
    "revoke_url",
    "introspect_url",
    "api_url",
    "confirm_url",
    "labels_url",
)
# What we send ourselves: a further parameter or header must not replace it.
OURS_AT_TOKEN = frozenset(
    {"grant_type", "code", "redirect_uri", "code_verifier", "refresh_token", "client_id", "client_secret"}
)
# What goes without saying where there is no refresh token: nothing rotates, and none can be revoked or looked at.
WITHOUT_REFRESH_TOKEN: Final = {"rotation": Rotation.NONE, "revoke_token": Presented.ACCESS, "probe": False}
IMPLIED: Final[dict[str, dict[str, Any]]] = {
    Kind.CODE: {"rotation": Rotation.FAMILY, "revoke_token": Presented.REFRESH},
    Kind.CLIENT_CREDENTIALS: WITHOUT_REFRESH_TOKEN | {"scope_separator": " "},  # RFC 6749 §3.3
    Kind.EXCHANGE: WITHOUT_REFRESH_TOKEN,
}
OURS = frozenset(
    {"response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method"}
)

OURS_IN_HEADS = frozenset(
    {"authorization", "content-type", "content-length", "host", "transfer-encoding", "connection", "accept-encoding"}
)
# A label is shown, exported and told to applications: none of these may become one.
TOKENS = frozenset({"access_token", "refresh_token", "id_token"})


class Provider(BaseModel):
    """One authorization server's habits, with the overrides of one client where there are any."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    name: str
    """The file's name without its ending."""
    title: str = ""
    """One line for people."""

    kind: Kind = Kind.CODE
    """How a grant comes to be and is renewed: `code`, `client_credentials` or `exchange`."""

    authorize_url: Address | None = None
    """Where the user is sent to consent."""
    token_url: Address | None = None
    """Where codes are exchanged and refresh tokens used."""
    refresh_url: Address | None = None
    """Where refresh tokens are used, if not at `token_url`."""
    revoke_url: Address | None = None
    """Where tokens are revoked (RFC 7009); absent: revocation is not supported."""
    introspect_url: Address | None = None
    """Where a token is looked at without using it (RFC 7662)."""
    api_url: Address | None = None
    """An address of the API that answers 401 to a dead access token and 2xx to a living one, by GET."""
    confirm_url: Address | None = None
    """Where a new access token is presented once after it was stored; useful at `on_use` only."""
    labels_url: Address | None = None
    """Where its API is asked for labels, by GET, once after each consent."""
    issuer: Url | None = None
    """Who the server says it is (RFC 8414): its `iss` in a callback must be this one (RFC 9207)."""
    issuer_in_callback: bool = False
    """Whether a callback must name the `issuer` (RFC 9207); where it names one, that is compared in any case."""
    hosts: tuple[Host, ...] = ()
    """The only hosts that are ever asked, `*.zendesk.com` or a name; needed where an address leaves a label open."""
    private_hosts: bool = False
    """Whether a host inside `hosts` may lie in a private range (RFC 1918, loopback and the like)."""
    keep_from_answer: dict[Label, PathInAnswer] = Field(default_factory=dict)
    """Labels that a token answer gives: `instance_url = "instance_url"`; the dotted path into it."""
    keep_from_redirect: dict[Label, str] = Field(default_factory=dict)
    """Labels that the redirect to us gives: `realm_id = "realmId"`; the name in its query."""
    labels_at: dict[Label, PathOfMany] = Field(default_factory=dict)
    """Labels that the answer of `labels_url` gives: `tenant = "*.tenantId"`; `*`: every element of a list."""

    body: Body = Body.FORM
    """How requests to the token and revocation endpoints are written: `json` or `form`."""
    auth: Auth = Auth.BODY
    """How the client proves who it is: `body`, `basic`, `none`, `private_key_jwt` or `mtls`."""
    jwt_audience: Url | None = None
    """Whom a `private_key_jwt` is for; absent: the token endpoint's address."""
    client_id_parameter: str = Field("client_id", pattern=r"^[A-Za-z_]+$")
    """What the client's id is called in authorize URL and requests, e.g. `client_key` (TikTok)."""
    code_parameter: str = Field("code", pattern=r"^[A-Za-z_]+$")
    """What the code is called in the redirect to us, e.g. `spapi_oauth_code` (Amazon)."""
    basic: Basic = Basic.ID_AND_SECRET
    """What the Authorization header holds at `basic`: `id_and_secret`, `beside_id` or `secret`."""
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
    exchange_parameters: dict[str, str] = Field(default_factory=dict)
    """Further parameters of the exchange of a code."""
    refresh_parameters: dict[str, str] = Field(default_factory=dict)
    """Further parameters of a refresh; never `scope`, which narrows a grant for ever at some providers."""
    refresh_redirect_uri: bool = False
    """Whether a refresh repeats the redirect URI (GitLab)."""
    refresh_method: Method = Method.POST
    """How a refresh is made: `POST`, or `GET` with everything in the query (Meta)."""
    refresh_grant_type: str = Field("refresh_token", pattern=r"^[\x21-\x7e]+$")
    """The `grant_type` of a refresh, e.g. `fb_exchange_token`."""
    refresh_parameter: str = Field("refresh_token", pattern=r"^[A-Za-z_]+$")
    """What the token is called in a refresh, e.g. `fb_exchange_token`."""
    token_headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    """Headers of every request to the token, revocation and introspection endpoints, e.g. `Notion-Version`."""
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    """Headers of API calls made from labels, e.g. `X-API-ORG = "{org}"`."""
    api_header: ApiHeader = f"Authorization: Bearer {ACCESS_TOKEN}"
    """How an access token is presented to the API, e.g. `X-Shopify-Access-Token: {access_token}`."""

    token_set: TokenPaths = TokenPaths()
    """Where a token answer says what, if not where RFC 6749 §5.1 says it."""
    second_token_set: SecondTokenSet | None = None
    """A second token set in the answer to a code, which becomes a grant of its own."""
    same_token_above_seconds: Positive | None = None
    """Above this rest of its life a refresh repeats the access token (Strava: 3600), so it is not asked before."""

    rotation: Rotation = Rotation.FAMILY
    """What happens to the old refresh token: `none`, `on_use`, `until_next_refresh`, `grace`, `immediate`, `family`."""
    grace_seconds: Positive | None = None
    """How long the old refresh token lives at `grace`."""
    reissues_refresh_token: bool = False
    """Whether, at `none`, each answer brings another refresh token while the one before lives on (Microsoft)."""
    after_grace: Rotation = Rotation.FAMILY
    """What the use of an old one does once its grace is over: as at `family` or at `immediate`."""
    until_next_days: Positive | None = None
    """How long it lives at most at `until_next_refresh`; absent: until the new one is used."""
    default_life_seconds: Positive = 3600
    """An access token's life where the answer has no `expires_in`."""
    life_from: LifeFrom = LifeFrom.ANSWER
    """Who tells that life: `answer`, or `introspection` where answers have no `expires_in` (Salesforce)."""
    idle_refresh_days: Positive = 7
    """How often a grant kept on demand is refreshed at least: half the refresh token's known life."""
    refresh_idle_days: Positive | None = None
    """How long a refresh token lives unused; each refresh begins it anew. An answer that tells its end counts more."""
    consent_days: Positive | None = None
    """How long a consent lives, however often it is refreshed (Spotify: 182)."""
    rate: Annotated[PerMinute | None, BeforeValidator(requests_per_minute)] = None
    """Requests a minute that the client may send, all kinds together; absent: no limit."""
    burst: int | None = Field(None, ge=1)
    """Requests under way at once; absent: see `allowed_burst`."""
    rate_per_grant: Annotated[PerMinute | None, BeforeValidator(requests_per_minute)] = None
    """Requests a minute that may be sent for one grant (Zoho: 10 in ten minutes); absent: no limit."""
    refresh_tokens_per_user: int | None = Field(None, ge=1)
    """How many refresh tokens a user may have with a client: one more kills the oldest (Google: 100)."""
    remaining_header: HeaderName | None = None
    """A header that tells how many requests are left, e.g. `X-Api-Request-Remaining`: it slows us before a 429."""
    remaining_least: int = Field(10, ge=0)
    """At how many left we go at half our pace."""
    retry_after_header: HeaderName = "Retry-After"
    """The header of a 429 or 503 that says how long to wait, in seconds or as a date."""
    deadline_seconds: Positive | None = None
    """Total time of one request; absent: the setting `http_deadline_seconds`."""

    probe: bool = False
    """Whether a refresh with a never-granted scope consumes nothing, so that it may be used to look."""
    probe_scope: str = Field("evergrant_never_granted", pattern=r"^[\x21\x23-\x5b\x5d-\x7e]+$")
    """The scope that a probe asks for; it must never have been granted."""
    revocation: Reach = Reach.GRANT
    """What one revocation kills: the `token`'s own pair, the `refresh` token alone, or the whole `grant`."""
    revoke_hint: bool = True
    """Whether a revocation sends `token_type_hint` (RFC 7009 §2.1)."""
    revoke_method: Method = Method.POST
    """How a revocation is made: `POST`, `DELETE`, `GET` or `PUT`."""
    revoke_body: RevokeBody | None = None
    """Where its members go: `json`, `form`, `query` or `none`; absent: as `body`."""
    revoke_auth: RevokeAuth = RevokeAuth.CLIENT
    """Who it is from: `client` (as `auth`), `basic`, `body`, `bearer`, `secret`, `bearer_secret` or `none`."""
    revoke_token: Presented = Presented.REFRESH
    """Which token it names: `refresh`, `access` or `neither`. The address may hold it as `{token}`."""
    revoke_parameter: str = Field("token", pattern=r"^[A-Za-z_]+$")
    """What the token is called in it."""
    revoke_parameters: dict[str, str] = Field(default_factory=dict)
    """Further members, which may name labels and `{client_id}`, e.g. `stripe_user_id = "{stripe_user_id}"`."""

    answers: tuple[Rule, ...] = ()
    """What the provider's own words mean, as `[[answers]]`; the first that fits speaks."""
    notices: tuple[Notice, ...] = ()
    """What the provider tells us by itself, as `[[notices]]`."""
    facts: dict[str, str] = Field(default_factory=dict)
    """Where a field's value comes from: `rotation = "documented 2026-11-28 https://…"`."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        problem = next((told for check in CHECKS if (told := check(self)) is not None), None)
        if problem is not None:
            raise ValueError(problem)
        return self

    @property
    def addresses(self) -> dict[str, str]:
        """Every address that is ever asked, or that a user is sent to, by its field."""
        named = {field: getattr(self, field) for field in ADDRESSES}
        return {field: url for field, url in named.items() if url is not None}

    def presenting(self, access_token: str) -> dict[str, str]:
        """The header that presents an access token."""
        name, _, value = self.api_header.partition(": ")
        return {name: value.replace(ACCESS_TOKEN, access_token)}

    @property
    def revoke_where(self) -> RevokeBody:
        """Where the members of a revocation go."""
        return RevokeBody(self.body) if self.revoke_body is None else self.revoke_body

    @property
    def labels_revoked_by(self) -> set[str]:
        """The labels that say whose grant ends: all grants of that value end with it."""
        named = {label for value in self.revoke_parameters.values() for label in labels_of(value)}
        return named - {CLIENT_ID} if self.revocation is Reach.GRANT else set()

    @property
    def may_rest(self) -> bool:
        """Whether a grant may outlive its access token, so that one kept on demand need not be renewed for that."""
        return self.kind is not Kind.EXCHANGE

    @property
    def grant_interval(self) -> timedelta:
        """The least time between two renewals of one grant; nothing where its provider sets no limit."""
        return timedelta(minutes=1) / self.rate_per_grant if self.rate_per_grant else timedelta(0)

    @property
    def grace(self) -> timedelta | None:
        """How long the old refresh token lives on; None where it does not, or for as long as it likes."""
        if self.rotation is not Rotation.GRACE or self.grace_seconds is None:
            return None
        return timedelta(seconds=self.grace_seconds)

    @property
    def until_next(self) -> timedelta | None:
        """How long it lives at most at `until_next_refresh`; None: until the new one is used."""
        if self.rotation is not Rotation.UNTIL_NEXT_REFRESH or self.until_next_days is None:
            return None
        return timedelta(days=self.until_next_days)

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
        kind = overrides.get("kind", self.kind)
        implied = {} if kind == self.kind else IMPLIED.get(kind, {})
        given = self.model_dump() | implied | self._not_asked_elsewhere(overrides) | overrides | {"name": self.name}
        return self.__class__.checked(f"overrides of provider {self.name!r}", given)

    def _not_asked_elsewhere(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """A client whose tokens another server gives, a simulator say, does not show them to the file's API."""
        token_url = overrides.get("token_url")
        if not isinstance(token_url, str) or urlsplit(token_url).netloc == urlsplit(self.token_url or "").netloc:
            return {}
        return {"labels_url": None, "labels_at": {}}

    @classmethod
    def checked(cls, where: str, values: dict[str, Any]) -> Self:
        """Make a provider of `values`, or say all that is wrong with them.

        Raises:
            ProviderFileError: a value cannot be used, or there is no such field.

        """
        kind = values.get("kind")
        implied = IMPLIED.get(kind, {}) if isinstance(kind, str) else {}
        try:
            return cls.model_validate(implied | values)
        except ValidationError as error:
            reasons = [_reason(each) for each in error.errors()]
        # Raised out here, so that it does not hold pydantic's error as its context: that one keeps the frames below us
        # where the garbage collector does not see them, and a process that reads a bad file each minute would grow.
        raise ProviderFileError(where, reasons)


def _callback_of_nobody(provider: Provider) -> str | None:
    bare = provider.issuer_in_callback and provider.issuer is None
    return "issuer_in_callback needs issuer" if bare else None


def _grace_without_seconds(provider: Provider) -> str | None:
    bare = provider.rotation is Rotation.GRACE and provider.grace_seconds is None
    return 'rotation "grace" needs grace_seconds' if bare else None


def _strange_end_of_grace(provider: Provider) -> str | None:
    known = provider.after_grace in (Rotation.FAMILY, Rotation.IMMEDIATE)
    return None if known else 'after_grace must be "family" or "immediate"'


def _life_from_nowhere(provider: Provider) -> str | None:
    bare = provider.life_from is LifeFrom.INTROSPECTION and provider.introspect_url is None
    return 'life_from "introspection" needs introspect_url: write where tokens are introspected' if bare else None


def _refresh_token_of_none(provider: Provider) -> str | None:
    """What cannot be where no refresh token is: it would be sent a placeholder, or an access token of no use there."""
    kind = f'kind "{provider.kind}"'
    if provider.kind is Kind.CODE:
        return None
    if provider.probe:
        return f"{kind} has no refresh token to probe: leave probe out"
    if provider.kind is Kind.CLIENT_CREDENTIALS and provider.rotation is not Rotation.NONE:
        return f'{kind} has no refresh token that could rotate: leave rotation out, or write "none"'
    if provider.revoke_token is Presented.REFRESH or provider.revocation is Reach.REFRESH:
        return f'{kind} has no refresh token to revoke: revoke_token must be "access" or "neither"'
    return None


def _revocation_without_place(provider: Provider) -> str | None:
    """A member that has no place would be left out without a word, and the provider would revoke nothing."""
    where = provider.revoke_where
    if provider.revoke_method is Method.GET and where in (RevokeBody.JSON, RevokeBody.FORM):
        return 'revoke_method "GET" has no body: revoke_body must be "query" or "none"'
    if where is not RevokeBody.NONE or provider.revoke_url is None:
        return None
    if provider.revoke_token is not Presented.NEITHER and "{token}" not in provider.revoke_url:
        return 'revoke_body "none" leaves the token no place: write {token} into revoke_url'
    if provider.revoke_parameters:
        return 'revoke_body "none" leaves revoke_parameters no place'
    if provider.revoke_auth is RevokeAuth.BODY or (
        provider.revoke_auth is RevokeAuth.CLIENT and provider.auth is not Auth.BASIC
    ):
        return 'revoke_body "none" leaves the client\'s id and secret no place: write another revoke_auth'
    return None


def _parameters_of_ours(provider: Provider) -> str | None:
    own_id = {provider.client_id_parameter}
    sent = {
        "authorize_parameters": OURS | own_id,
        "exchange_parameters": OURS_AT_TOKEN | own_id,
        "refresh_parameters": OURS_AT_TOKEN | own_id | {"scope"},
        "revoke_parameters": frozenset({provider.revoke_parameter, "token_type_hint"}),
    }
    for field, ours in sent.items():
        if taken := ours & getattr(provider, field).keys():
            return f"{field} must not set {', '.join(sorted(taken))}"
    return None


def _open_without_fence(provider: Provider) -> str | None:
    """A label is what a user or the provider said: without a fence it could lead our secret anywhere."""
    for field, url in provider.addresses.items():
        if not provider.hosts and leaves_host_open(url):
            return f'{field} leaves a label open in its host: add hosts, e.g. hosts = ["*.example.com"]'
    return None


def _outside_of_fence(provider: Provider) -> str | None:
    """What would be refused at each request is told where it is written."""
    for field, url in provider.addresses.items():
        host = "" if leaves_host_open(url) else urlsplit(url).hostname or ""
        if provider.hosts and host and not is_within(host, provider.hosts):
            return f"{field} leads to {host}, which is not among hosts: add it there"
        if provider.hosts and not provider.private_hosts and (is_loopback(host) or is_address(host)):
            return f"{field} leads to {host}: say private_hosts = true, if that is meant"
    return None


def _headers_of_ours(provider: Provider) -> str | None:
    taken = sorted(OURS_IN_HEADS & {name.lower() for name in provider.token_headers})
    if taken:
        return f"token_headers must not set {', '.join(taken)}"
    presenting = provider.api_header.partition(":")[0].lower()
    if presenting in OURS_IN_HEADS - {"authorization"}:
        return f"api_header must not set {presenting}"
    if presenting != "authorization" and presenting in {name.lower() for name in provider.headers}:
        return f"headers must not set {presenting}: api_header does"
    return None


def _tokens_as_labels(provider: Provider) -> str | None:
    paths = TOKENS | {*provider.token_set.access_token, *provider.token_set.refresh_token}
    for label, path in provider.keep_from_answer.items():
        if path in paths or path.rpartition(".")[2] in TOKENS or not path:
            return f"keep_from_answer.{label} must not name a token: labels are shown to everybody"
    for label, path in provider.labels_at.items():
        if path.rpartition(".")[2] in TOKENS:
            return f"labels_at.{label} must not name a token: labels are shown to everybody"
    for label, name in provider.keep_from_redirect.items():
        if name in {"code", "state", provider.code_parameter}:
            return f"keep_from_redirect.{label} must not name {name}: labels are shown to everybody"
    return None


def _label_in_authorize_host_of_answer(provider: Provider) -> str | None:
    """The first answer comes after the user was sent there, and after the code was exchanged."""
    late = provider.keep_from_answer.keys()
    for field in ("authorize_url", "token_url"):
        if opened := [label for label in labels_of(provider.addresses.get(field, "")) if label in late]:
            return f"{field} needs {opened[0]}, which only its answer gives: take a label, or refresh_url"
    for label in labels_of(provider.addresses.get("authorize_url", "")):
        if label in provider.keep_from_redirect:
            return f"authorize_url needs {label}, which only the redirect gives: take a label"
    return None


def _labels_asked_by_halves(provider: Provider) -> str | None:
    """Where to ask and what to read there go together, and no other source gives the same label."""
    if bool(provider.labels_at) is not (provider.labels_url is not None):
        missing, there = ("labels_url", "labels_at") if provider.labels_at else ("labels_at", "labels_url")
        return f"{there} needs {missing}: write both, or neither"
    for label in provider.labels_at:
        for field in ("keep_from_answer", "keep_from_redirect"):
            if label in getattr(provider, field):
                return f"labels_at.{label} is given by {field}, too: leave one out"
    return None


def _label_asked_too_late(provider: Provider) -> str | None:
    """It comes after the consent, or never: nothing that keeps a grant alive may wait for it."""
    for field in ("authorize_url", "token_url", "refresh_url", "labels_url"):
        for label in labels_of(provider.addresses.get(field, "")):
            if label in provider.labels_at:
                return f"{field} needs {label}, which only labels_url gives: take a label, or keep_from_answer"
    return None


def _rules_never_heard(provider: Provider) -> str | None:
    return next(iter(never_heard(provider.answers)), None)


def _rules_for_token_sets(provider: Provider) -> str | None:
    """A 2xx with a token set is read before any rule is asked."""
    for place, rule in enumerate(provider.answers, 1):
        held = [path for path in provider.token_set.access_token if rule.where.get(path)]
        in_success = rule.status and all(str(each).startswith("2") for each in rule.status)
        if held and in_success and rule.to in (Asked.REFRESH, Asked.CODE):
            return f"answers.{place}: a 2xx with {held[0]} is a token set, and no rule is asked of one: leave it out"
    return None


CHECKS: Final[tuple[Callable[[Provider], str | None], ...]] = (
    _callback_of_nobody,
    _grace_without_seconds,
    _strange_end_of_grace,
    _life_from_nowhere,
    _refresh_token_of_none,
    _revocation_without_place,
    _parameters_of_ours,
    _open_without_fence,
    _outside_of_fence,
    _headers_of_ours,
    _tokens_as_labels,
    _label_in_authorize_host_of_answer,
    _labels_asked_by_halves,
    _label_asked_too_late,
    _rules_never_heard,
    _rules_for_token_sets,
)


def _reason(error: Any) -> str:
    """A problem in a sentence that names its field; of a list the first place is 1, as rules are numbered."""
    field = ".".join(str(part + 1) if isinstance(part, int) else part for part in error["loc"])
    text = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        text = _no_such_field(error["loc"])
    elif error["type"] == "missing":
        text = "is needed: write it"
    return f"{field}: {text}" if field else text


def _no_such_field(place: tuple[str | int, ...]) -> str:
    known = Rule.model_fields if place[0] == "answers" else Provider.model_fields
    meant = get_close_matches(str(place[-1]), known, 1) if len(place) == 1 or place[0] == "answers" else []
    return f"there is no such field: {f'write {meant[0]}' if meant else 'leave it out'}"


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
    return read(next(p for place in (folder, BUNDLED) if (p := place / f"{name}.toml").is_file()))


def read(path: Path) -> Provider:
    """Read one provider file, wherever it lies.

    Raises:
        ProviderFileError: the file cannot be read or used.

    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProviderFileError(str(path), [f"cannot be read: {error.strerror}"]) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ProviderFileError(str(path), [str(error)]) from None
    except RecursionError:
        raise ProviderFileError(str(path), ["it is nested too deeply: no field needs more than two levels"]) from None
    except ValueError:  # Python reads no integer of more than 4300 digits
        raise ProviderFileError(str(path), ["it holds a number of thousands of digits: write a shorter one"]) from None
    if "name" in values:
        raise ProviderFileError(str(path), ["name: the file's own name is the provider's name"])
    if path.suffix != ".toml" or not NAME.fullmatch(path.stem):
        told = "its name is the provider's: call it like acme.toml, in small letters, digits, - and _"
        raise ProviderFileError(str(path), [told])
    return Provider.checked(str(path), values | {"name": path.stem})
