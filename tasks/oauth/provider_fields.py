"""Fields of a provider file: every habit of an authorization server, with what holds where nothing is said.

docs/reference/provider-file.md lists them.
"""

from typing import Annotated, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

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
    requests_per_minute,
)
from tasks.oauth.fields import Path as PathInAnswer
from tasks.oauth.notices import Notice
from tasks.oauth.rotation import Rotation
from tasks.oauth.rules import Rule
from tasks.oauth.shapes import Auth, Basic, Body, Kind, LifeFrom, Method, Presented, Reach, RevokeAuth, RevokeBody
from tasks.oauth.token_paths import SecondTokenSet, TokenPaths

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


class ProviderFields(BaseModel):
    """What a provider file may say, a field each, with its default; `Provider` is one that was checked."""

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
    account_at: PathInAnswer | None = None
    """Where stands whose account it is: a dotted path into the answer, `id_token.sub`, or `redirect.NAME`."""

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

    @property
    def addresses(self) -> dict[str, str]:
        """Every address that is ever asked, or that a user is sent to, by its field."""
        named = {field: getattr(self, field) for field in ADDRESSES}
        return {field: url for field, url in named.items() if url is not None}

    @property
    def revoke_where(self) -> RevokeBody:
        """Where the members of a revocation go."""
        return RevokeBody(self.body) if self.revoke_body is None else self.revoke_body
