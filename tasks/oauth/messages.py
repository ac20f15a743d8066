"""Messages: what is said to a provider, as values: pure, no input or output, no clock.

Builders make a frozen `Request` for `transport.send`. RFC 6749 (the framework), 6750 (bearer), 7009 (revocation),
7636 (PKCE). What a token endpoint answers is read by tasks/oauth/token_answer.py.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from tasks.oauth.addresses import Labels, address_of
from tasks.oauth.authentication import Credentials, Proof, needed, proof
from tasks.oauth.errors import LabelNotChosen, MissingSetting, ProbeNotAllowed
from tasks.oauth.provider import Provider
from tasks.oauth.shapes import Auth, Kind, Method, RevokeBody
from tasks.oauth.whole_answer import is_whole_token_set

if TYPE_CHECKING:  # it brings cryptography, and few clients have a key
    from tasks.oauth.client_key import ClientKey

LABEL_IN_HEADER = re.compile(r"{(\w+)}")


@dataclass(frozen=True, slots=True)
class Request:
    """One request, ready to be sent; its repr shows no secret.

    `sign`: makes it complete at the instant of sending. `certificate`: what TLS shows of us. `public_only`: not to an
    address of a private range, whatever its host's name stands for. `is_answered_by`: where tokens are asked for,
    whether a body is a whole token set, so that it is an answer also where its end never comes.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False, default_factory=dict)
    body: bytes = field(repr=False, default=b"")
    public_only: bool = False
    path_is_secret: bool = False  # it holds a token
    sign: Callable[[datetime], "Request"] | None = field(repr=False, compare=False, default=None)
    certificate: "ClientKey | None" = field(repr=False, default=None)
    assertion: str = field(repr=False, compare=False, default="")  # what proves who it is from, made for this one
    is_answered_by: Callable[[bytes], bool] | None = field(repr=False, compare=False, default=None)

    def signed(self, at: datetime) -> "Request":
        """This request as it is sent at `at`: where who it is from is proved by an assertion, with a fresh one."""
        return self if self.sign is None else self.sign(at)

    @property
    def endpoint(self) -> str:
        """The URL without its query, and without its path where that holds a token: fit for a log."""
        return self.url.partition("?")[0] if not self.path_is_secret else "/".join(self.url.split("/")[:3])


@dataclass(frozen=True, slots=True)
class Registration:
    """Our registration at a provider: who we are there (RFC 6749 §2)."""

    provider: Provider
    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str | None = None
    scopes: tuple[str, ...] = ()  # the client's own, where it has some: asked for in place of the provider's
    key: "ClientKey | None" = field(repr=False, default=None)


def code_challenge(code_verifier: str) -> str:
    """Derive the challenge of a verifier by S256 (RFC 7636 §4.2)."""
    digest = hashlib.sha256(code_verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def code_verifier(entropy: bytes) -> str:
    """Write at least 32 random bytes as a code verifier (RFC 7636 §4.1)."""
    return base64.urlsafe_b64encode(entropy).decode().rstrip("=")


def authorize_url(
    registration: Registration,
    *,
    state: str,
    code_challenge: str | None,
    scopes: Iterable[str] | None = None,
    labels: Labels | None = None,
) -> str:
    """Where the user is sent (RFC 6749 §4.1.1); `scopes` default to the provider's.

    Raises:
        MissingSetting: the provider has no authorize_url or the client no redirect_uri.
        AddressError: it cannot be made of these labels.

    """
    provider = registration.provider
    wanted = provider.scope_separator.join(provider.scopes if scopes is None else scopes)
    parameters = dict(provider.authorize_parameters)
    parameters |= {"response_type": "code", provider.client_id_parameter: registration.client_id}
    parameters |= {"redirect_uri": _redirect_uri(registration), "state": state}
    if wanted:
        parameters["scope"] = wanted
    if provider.pkce and code_challenge is not None:
        parameters |= {"code_challenge": code_challenge, "code_challenge_method": "S256"}
    url = address_of(provider, "authorize_url", labels)
    joint = "&" if urlsplit(url).query else "?"
    return url + joint + urlencode(parameters, quote_via=quote, safe=",:")


def exchange(
    registration: Registration, *, code: str, code_verifier: str | None, labels: Labels | None = None
) -> Request:
    """Ask for the first token set of a grant (RFC 6749 §4.1.3).

    Raises:
        MissingSetting: the provider has no token_url or the client no redirect_uri.
        AddressError: it cannot be made of these labels.

    """
    parameters = dict(registration.provider.exchange_parameters)
    parameters |= {"grant_type": "authorization_code", "code": code, "redirect_uri": _redirect_uri(registration)}
    if registration.provider.pkce and code_verifier is not None:
        parameters["code_verifier"] = code_verifier
    return _post(registration, "token_url", parameters, labels)


def refresh(registration: Registration, *, refresh_token: str, labels: Labels | None = None) -> Request:
    """Ask for the next token set (RFC 6749 §6), never with a scope: at some providers that narrows it for ever.

    A grant without a user holds no refresh token, and what it holds in its place is never sent.

    Raises:
        MissingSetting: the provider has no token_url, or wants a redirect URI that the client has not.
        AddressError: it cannot be made of these labels.

    """
    if registration.provider.kind is Kind.CLIENT_CREDENTIALS:
        return client_credentials(registration, labels=labels)
    return _refresh(registration, refresh_token, labels)


def client_credentials(registration: Registration, *, labels: Labels | None = None) -> Request:
    """Ask for a token set with nothing but the client's own credentials (RFC 6749 §4.4.2).

    Raises:
        MissingSetting: the provider has no token_url.
        AddressError: it cannot be made of these labels.

    """
    provider = registration.provider
    parameters = {"grant_type": "client_credentials"}
    if wanted := registration.scopes or provider.scopes:
        parameters["scope"] = provider.scope_separator.join(wanted)
    return _post(registration, "token_url", parameters, labels)


def allow_probe(provider: Provider) -> None:
    """See that a probe may be made at all.

    Raises:
        ProbeNotAllowed: the provider file does not say that this consumes nothing.

    """
    if not provider.probe:
        raise ProbeNotAllowed(provider.name)


def probe(registration: Registration, *, refresh_token: str, labels: Labels | None = None) -> Request:
    """Ask whether a refresh token lives, by a refresh with a scope that was never granted.

    `invalid_scope`: it lives; `invalid_grant`: it is dead, or another client's; a token set: it was consumed.

    Raises:
        ProbeNotAllowed: the provider file does not say that this consumes nothing.
        MissingSetting: the provider has no token_url.
        AddressError: it cannot be made of these labels.

    """
    allow_probe(registration.provider)
    return _refresh(registration, refresh_token, labels, scope=registration.provider.probe_scope)


def introspect(
    registration: Registration, *, token: str, labels: Labels | None = None, hint: str = "refresh_token"
) -> Request:
    """Ask of a token whether it lives, and how long, without using it (RFC 7662 §2.1); `hint`: which kind it is.

    Raises:
        MissingSetting: the provider has no introspect_url.
        AddressError: it cannot be filled with these labels.

    """
    members = {"token": token, "token_type_hint": hint}
    return _post(registration, "introspect_url", members, labels)


def confirm(provider: Provider, *, access_token: str, labels: Labels | None = None) -> Request:
    """Present an access token once, so that its predecessor dies (`on_use`).

    Raises:
        MissingSetting: the provider has no confirm_url.
        AddressError: it cannot be made of these labels.

    """
    return _get(provider, "confirm_url", access_token, labels or {})


def api_call(provider: Provider, *, access_token: str, labels: Labels | None = None) -> Request:
    """Call the API once (RFC 6750 §2.1), to see whether the access token lives.

    Raises:
        MissingSetting: the provider has no api_url.
        AddressError: it cannot be made of these labels.

    """
    return _get(provider, "api_url", access_token, labels or {})


def ask_labels(provider: Provider, *, access_token: str, labels: Labels | None = None) -> Request:
    """Ask the API for what a grant is to be known by, say the organizations that it serves.

    Raises:
        MissingSetting: the provider has no labels_url.
        AddressError: it cannot be made of these labels.

    """
    return _get(provider, "labels_url", access_token, labels or {})


def api_headers(provider: Provider, labels: Labels, chosen: Mapping[str, str] | None = None) -> dict[str, str]:
    """Make the headers that the provider file derives from labels; one whose label is absent is left out.

    `chosen` says which value of a label is meant; it must be one that the grant has.

    Raises:
        LabelNotChosen: the label has several values, or not the one chosen.

    """
    wanted = chosen or {}
    made: dict[str, str] = {}
    for header, template in provider.headers.items():
        needed = LABEL_IN_HEADER.findall(template)
        if all(labels.get(label) or label in wanted for label in needed):
            values = {label: _one_value(header, label, labels.get(label, ()), wanted.get(label)) for label in needed}
            made[header] = template.format_map(values)
    return made


def labels_in_headers(provider: Provider) -> set[str]:
    """The labels that the provider file derives headers from."""
    return {label for template in provider.headers.values() for label in LABEL_IN_HEADER.findall(template)}


def _one_value(header: str, label: str, values: str | Sequence[str], chosen: str | None) -> str:
    several = [values] if isinstance(values, str) else list(values)
    meant = several if chosen is None else [value for value in several if value == chosen]
    if len(meant) != 1:
        raise LabelNotChosen(label, header, several)
    return meant[0]


def _get(provider: Provider, setting: str, access_token: str, labels: Labels) -> Request:
    headers = {"Accept": "application/json", **provider.presenting(access_token)}
    try:
        headers |= api_headers(provider, labels)
    except LabelNotChosen:  # for one of several organisations, say, while any of them tells whether the token lives
        headers |= api_headers(provider, {})
    return Request("GET", address_of(provider, setting, labels), headers, public_only=_public_only(provider))


def _refresh(registration: Registration, refresh_token: str, labels: Labels | None, **more: str) -> Request:
    """Write what a refresh and a probe have in common, so that a probe asks as a refresh would."""
    provider = registration.provider
    parameters = dict(provider.refresh_parameters)
    parameters |= {"grant_type": provider.refresh_grant_type, provider.refresh_parameter: refresh_token, **more}
    if provider.refresh_redirect_uri:
        parameters["redirect_uri"] = _redirect_uri(registration)
    setting = "refresh_url" if provider.refresh_url else "token_url"
    if provider.refresh_method is Method.POST:
        return _post(registration, setting, parameters, labels)
    return _ask(registration, setting, parameters, labels, method=provider.refresh_method, where=RevokeBody.QUERY)


def _post(registration: Registration, setting: str, parameters: dict[str, str], labels: Labels | None) -> Request:
    where = RevokeBody(registration.provider.body)
    return _ask(registration, setting, parameters, labels, method=Method.POST, where=where)


def _ask(
    registration: Registration,
    setting: str,
    parameters: dict[str, str],
    labels: Labels | None,
    *,
    method: Method,
    where: RevokeBody,
) -> Request:
    provider = registration.provider
    headers, url = accepting(provider), address_of(provider, setting, labels)
    is_token_set = partial(is_whole_token_set, provider=provider)

    def write(from_us: Proof) -> Request:
        members = {**parameters, **from_us.members}
        request = fenced(written(method, url, {**headers, **from_us.headers}, members, where=where), provider)
        return request if setting == "introspect_url" else replace(request, is_answered_by=is_token_set)

    return from_client(registration, provider.auth, labels, write)


def from_client(
    registration: Registration, auth: Auth, labels: Labels | None, write: Callable[[Proof], Request]
) -> Request:
    """Write a request with what proves that it is the client's, in this way.

    Raises:
        ClientKeyError: the client has no key, and needs one.

    """
    provider = registration.provider
    credentials = Credentials(registration.client_id, registration.client_secret, registration.key)

    def made(at: datetime | None) -> Request:
        audience = "" if at is None else provider.jwt_audience or address_of(provider, "token_url", labels)
        from_us = proof(
            auth,
            credentials,
            id_parameter=provider.client_id_parameter,
            basic=provider.basic,
            basic_encoded=provider.basic_encoded,
            audience=audience,
            at=at,
        )
        request = write(from_us)
        assertion = from_us.members.get("client_assertion")
        return request if assertion is None else replace(request, assertion=assertion)

    match auth:
        case Auth.PRIVATE_KEY_JWT:
            needed(registration.key)
            return replace(made(None), sign=made)
        case Auth.MTLS:
            return replace(made(None), certificate=needed(registration.key))
        case _:
            return made(None)


def accepting(provider: Provider) -> dict[str, str]:
    """The headers of every request to the token, revocation and introspection endpoints."""
    if not provider.token_headers:
        return {"Accept": "application/json"}
    own_accept = any(name.lower() == "accept" for name in provider.token_headers)
    return ({} if own_accept else {"Accept": "application/json"}) | provider.token_headers


def fenced(request: Request, provider: Provider) -> Request:
    """Let a request reach public hosts alone, where the provider file says so."""
    return replace(request, public_only=True) if _public_only(provider) else request


_COMPACT = json.JSONEncoder(separators=(",", ":"))  # made once: one for each request costs as much as the request


def written(method: str, url: str, headers: Mapping[str, str], members: Mapping[str, str], *, where: str) -> Request:
    """Write a request with its members where they belong: a JSON or form body, the query, or nowhere."""
    match where:
        case RevokeBody.JSON:
            body = _COMPACT.encode(members)
            return Request(method, url, {**headers, "Content-Type": "application/json"}, body.encode())
        case RevokeBody.FORM:
            form = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
            return Request(method, url, form, urlencode(members).encode())
        case RevokeBody.QUERY if members:
            return Request(method, url + ("&" if urlsplit(url).query else "?") + urlencode(members), headers)
        case _:
            return Request(method, url, headers)


def _public_only(provider: Provider) -> bool:
    """Where a label may decide where a request goes, it does not decide for our own network."""
    return bool(provider.hosts) and not provider.private_hosts


def _redirect_uri(registration: Registration) -> str:
    if registration.redirect_uri is None:
        raise MissingSetting(registration.provider.name, "redirect_uri")
    return registration.redirect_uri
