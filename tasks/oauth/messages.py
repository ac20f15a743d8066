"""Messages: what is said to a provider and what it answers, as values: pure, no input or output, no clock.

Builders make a frozen `Request` for `transport.send`; `read_token_answer` turns any bytes into a value and never
raises. RFC 6749 (the framework), 6750 (bearer), 7009 (revocation), 7636 (PKCE).
"""

import base64
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, TypeGuard
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from tasks.oauth.authentication import Credentials, Proof, needed, proof
from tasks.oauth.client_key import ClientKey
from tasks.oauth.error_answers import ErrorAnswer, cleaned, error_answer, tells_error
from tasks.oauth.errors import LabelNotChosen, MissingSetting, ProbeNotAllowed
from tasks.oauth.provider import Provider
from tasks.oauth.shapes import Auth, Body

Labels = Mapping[str, str | Sequence[str]]
Hint = Literal["refresh_token", "access_token"]

LABEL_IN_HEADER = re.compile(r"{(\w+)}")

SCOPE_LIMIT = 4000
SECONDS_LIMIT = 1e12  # far beyond any life; the policy clamps what is plausible


@dataclass(frozen=True, slots=True)
class Request:
    """One request, ready to be sent; its repr shows no secret.

    `sign`: makes it complete at the instant of sending. `certificate`: what TLS shows of us.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False, default_factory=dict)
    body: bytes = field(repr=False, default=b"")
    sign: Callable[[datetime], "Request"] | None = field(repr=False, compare=False, default=None)
    certificate: ClientKey | None = field(repr=False, default=None)

    def signed(self, at: datetime) -> "Request":
        """This request as it is sent at `at`: where who it is from is proved by an assertion, with a fresh one."""
        return self if self.sign is None else self.sign(at)

    @property
    def endpoint(self) -> str:
        """The URL without its query: fit for a log."""
        return self.url.partition("?")[0]


@dataclass(frozen=True, slots=True)
class Registration:
    """Our registration at a provider: who we are there (RFC 6749 §2)."""

    provider: Provider
    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str | None = None
    key: ClientKey | None = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class TokenSet:
    """One answer of the token endpoint (RFC 6749 §5.1); `expires_in` in seconds, as the provider said it."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False, default=None)
    expires_in: float | None = None
    scope: str | None = None
    token_type: str = "Bearer"  # noqa: S105 (a scheme, no secret)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The body is neither a token set nor an error; `reason`: empty, not_json, no_token or bad_token."""

    reason: str


TokenAnswer = TokenSet | ErrorAnswer | Unreadable


def code_challenge(code_verifier: str) -> str:
    """Derive the challenge of a verifier by S256 (RFC 7636 §4.2)."""
    digest = hashlib.sha256(code_verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def code_verifier(entropy: bytes) -> str:
    """Write at least 32 random bytes as a code verifier (RFC 7636 §4.1)."""
    return base64.urlsafe_b64encode(entropy).decode().rstrip("=")


def authorize_url(
    registration: Registration, *, state: str, code_challenge: str | None, scopes: Iterable[str] | None = None
) -> str:
    """Where the user is sent (RFC 6749 §4.1.1); `scopes` default to the provider's.

    Raises:
        MissingSetting: the provider has no authorize_url or the client no redirect_uri.

    """
    provider = registration.provider
    wanted = provider.scope_separator.join(provider.scopes if scopes is None else scopes)
    parameters = dict(provider.authorize_parameters)
    parameters |= {"response_type": "code", "client_id": registration.client_id}
    parameters |= {"redirect_uri": _redirect_uri(registration), "state": state}
    if wanted:
        parameters["scope"] = wanted
    if provider.pkce and code_challenge is not None:
        parameters |= {"code_challenge": code_challenge, "code_challenge_method": "S256"}
    url = _url_of(provider, "authorize_url")
    joint = "&" if urlsplit(url).query else "?"
    return url + joint + urlencode(parameters, quote_via=quote, safe=",:")


def exchange(registration: Registration, *, code: str, code_verifier: str | None) -> Request:
    """Ask for the first token set of a grant (RFC 6749 §4.1.3).

    Raises:
        MissingSetting: the provider has no token_url or the client no redirect_uri.

    """
    parameters = {"grant_type": "authorization_code", "code": code, "redirect_uri": _redirect_uri(registration)}
    if registration.provider.pkce and code_verifier is not None:
        parameters["code_verifier"] = code_verifier
    return _post(registration, "token_url", parameters)


def refresh(registration: Registration, *, refresh_token: str) -> Request:
    """Ask for the next token set (RFC 6749 §6), never with a scope: at some providers that narrows it for ever.

    Raises:
        MissingSetting: the provider has no token_url.

    """
    return _refresh(registration, refresh_token)


def probe(registration: Registration, *, refresh_token: str) -> Request:
    """Ask whether a refresh token lives, by a refresh with a scope that was never granted.

    `invalid_scope`: it lives; `invalid_grant`: it is dead, or another client's; a token set: it was consumed.

    Raises:
        ProbeNotAllowed: the provider file does not say that this consumes nothing.
        MissingSetting: the provider has no token_url.

    """
    provider = registration.provider
    if not provider.probe:
        raise ProbeNotAllowed(provider.name)
    return _refresh(registration, refresh_token, scope=provider.probe_scope)


def revoke(registration: Registration, *, token: str, hint: Hint | None) -> Request:
    """Ask for a token's end (RFC 7009 §2.1); the hint is sent only where the provider wants one.

    A hint that does not fit the token makes some providers answer 200 and do nothing.

    Raises:
        MissingSetting: the provider has no revoke_url.

    """
    parameters = {"token": token}
    if hint is not None and registration.provider.revoke_hint:
        parameters["token_type_hint"] = hint
    return _post(registration, "revoke_url", parameters)


def introspect(registration: Registration, *, token: str, hint: Hint) -> Request:
    """Ask whether a token lives, without using it (RFC 7662 §2.1).

    Raises:
        MissingSetting: the provider has no introspect_url.

    """
    return _post(registration, "introspect_url", {"token": token, "token_type_hint": hint})


def confirm(provider: Provider, *, access_token: str, labels: Labels | None = None) -> Request:
    """Present an access token once, so that its predecessor dies (`on_use`).

    Raises:
        MissingSetting: the provider has no confirm_url.
        LabelNotChosen: a header needs one of several values.

    """
    return _get(provider, "confirm_url", access_token, labels or {})


def api_call(provider: Provider, *, access_token: str, labels: Labels | None = None) -> Request:
    """Call the API once (RFC 6750 §2.1), to see whether the access token lives.

    Raises:
        MissingSetting: the provider has no api_url.
        LabelNotChosen: a header needs one of several values.

    """
    return _get(provider, "api_url", access_token, labels or {})


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
    headers = {"Accept": "application/json", "Authorization": f"Bearer {access_token}"}
    return Request("GET", _url_of(provider, setting), headers | api_headers(provider, labels))


def _refresh(registration: Registration, refresh_token: str, **more: str) -> Request:
    """Write what a refresh and a probe have in common, so that a probe asks as a refresh would."""
    return _post(registration, "token_url", {"grant_type": "refresh_token", "refresh_token": refresh_token, **more})


def _post(registration: Registration, setting: str, parameters: dict[str, str]) -> Request:
    url = _url_of(registration.provider, setting)

    def made(at: datetime | None) -> Request:
        return _written(registration, url, parameters, _proof(registration, at))

    match registration.provider.auth:
        case Auth.PRIVATE_KEY_JWT:
            needed(registration.key)
            return replace(made(None), sign=made)
        case Auth.MTLS:
            return replace(made(None), certificate=needed(registration.key))
        case _:
            return made(None)


def _proof(registration: Registration, at: datetime | None) -> Proof:
    provider = registration.provider
    return proof(
        provider.auth,
        Credentials(registration.client_id, registration.client_secret, registration.key),
        id_parameter=provider.client_id_parameter,
        basic_encoded=provider.basic_encoded,
        audience=provider.jwt_audience or provider.token_url or "",
        at=at,
    )


def _written(registration: Registration, url: str, parameters: dict[str, str], from_us: Proof) -> Request:
    members = {**parameters, **from_us.members}
    headers = {"Accept": "application/json", **from_us.headers}
    if registration.provider.body is Body.JSON:
        headers["Content-Type"] = "application/json"
        body = json.dumps(members, separators=(",", ":"))
    else:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode(members)
    return Request("POST", url, headers, body.encode())


def _url_of(provider: Provider, setting: str) -> str:
    url: str | None = getattr(provider, setting)
    if url is None:
        raise MissingSetting(provider.name, setting)
    return url


def _redirect_uri(registration: Registration) -> str:
    if registration.redirect_uri is None:
        raise MissingSetting(registration.provider.name, "redirect_uri")
    return registration.redirect_uri


def read_token_answer(body: bytes, *, hide: Iterable[str] = ()) -> TokenAnswer:
    """Read what a token endpoint answered; whatever the bytes are, a value comes back.

    A body that holds a usable access token is a token set, also beside an error: a token set that reached us is
    never thrown away. `hide`: secrets of the request, which an error's texts must not repeat; looked at only then.
    """
    members = _members(body)
    if isinstance(members, Unreadable):
        return members
    answer = _token_set(members)
    if isinstance(answer, Unreadable) and tells_error(members):
        return error_answer(members, hide)
    return answer


def read_refusal(body: bytes, *, hide: Iterable[str]) -> ErrorAnswer | None:
    """Read what an answer whose status is a refusal says; None: nothing that has members."""
    members = _members(body)
    return None if isinstance(members, Unreadable) else error_answer(members, hide)


def _members(body: bytes) -> dict[str, Any] | Unreadable:
    """The body's members: a JSON object, or the form encoding that some providers answer with."""
    if not body.strip():
        return Unreadable("empty")
    try:
        text = body.decode(json.detect_encoding(body), errors="replace").removeprefix("\ufeff")
        found = _JSON.decode(text)
    except (ValueError, RecursionError):
        form = _form(body)
        return form if "access_token" in form or "error" in form else Unreadable("not_json")
    return found if isinstance(found, dict) else Unreadable("no_token")


# An integer of any length is read as a float: a silly number must not make its neighbours unreadable. Made once: a
# decoder for each answer costs more than the answer.
_JSON = json.JSONDecoder(strict=False, parse_int=float)


def _form(body: bytes) -> dict[str, Any]:
    try:
        return dict(parse_qsl(body.decode("ascii").strip(), max_num_fields=50))
    except ValueError:
        return {}


def _token_set(members: dict[str, Any]) -> TokenSet | Unreadable:
    access_token, refresh_token = members.get("access_token"), members.get("refresh_token")
    if access_token in (None, ""):
        return Unreadable("no_token")
    if not is_token(access_token) or not (refresh_token in (None, "") or is_token(refresh_token)):
        return Unreadable("bad_token")
    return TokenSet(
        access_token=access_token,
        refresh_token=refresh_token or None,
        expires_in=_seconds(members.get("expires_in")),
        scope=_scope(members.get("scope")),
        token_type=cleaned(members.get("token_type"), limit=40) or "Bearer",
    )


def is_token(value: object) -> TypeGuard[str]:
    """Whether this can be a token: visible ASCII and space, as anything else could not be sent back as it came.

    RFC 6749 appendices A.12 and A.17.
    """
    return isinstance(value, str) and value != "" and value.isascii() and value.isprintable()


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return None if math.isnan(seconds) else max(-SECONDS_LIMIT, min(seconds, SECONDS_LIMIT))


def _scope(value: object) -> str | None:
    """The scope as text; Twitch answers with a list."""
    if isinstance(value, list):
        value = " ".join(item for item in value if isinstance(item, str))
    return cleaned(value, limit=SCOPE_LIMIT) or None


def scope_set(scope: str | None) -> frozenset[str]:
    """Split a scope at spaces and commas, so that two can be compared whatever their order."""
    return frozenset(re.split(r"[ ,]+", scope)) - {""} if scope else frozenset()
