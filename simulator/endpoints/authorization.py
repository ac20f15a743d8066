"""GET and POST /oauth/authorize: what the page asks, in Doorkeeper's order of checks, and the code it hands out."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from simulator.answers import TEXTS
from simulator.authorization_code import CODE_LIFE_SECONDS, Code
from simulator.issuer import Issuer


@dataclass(slots=True)
class AuthorizationRequest:
    """A well-formed authorize request, to be allowed or denied by a user."""

    client_id: str
    redirect_uri: str
    scope: str
    state: str
    challenge: str
    method: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """An authorize request that is shown to the user as an error page, or sent back where `redirect_to` is set."""

    code: str
    text: str
    redirect_to: str = ""


def read(issuer: Issuer, params: Mapping[str, str]) -> AuthorizationRequest | Refusal:
    """Check an authorize request in Doorkeeper's order."""
    if not (client_id := params.get("client_id", "")):
        return _missing("client_id")
    client = issuer.clients.get(client_id)
    if client is None:
        return _refused("invalid_client")
    if params.get("redirect_uri", "") not in client.redirect_uris:
        return _refused("invalid_redirect_uri")
    return _read_rest(issuer, params, client.scopes)


def _read_rest(issuer: Issuer, params: Mapping[str, str], known: tuple[str, ...]) -> AuthorizationRequest | Refusal:
    asked = AuthorizationRequest(
        params["client_id"],
        params["redirect_uri"],
        _scope(issuer, params.get("scope", ""), known),
        params.get("state", ""),
        params.get("code_challenge", ""),
        params.get("code_challenge_method", ""),
    )
    if not (response_type := params.get("response_type", "")):
        return _missing("response_type")
    if response_type != "code":
        return _refused("unsupported_response_type")
    if not asked.scope:
        back = error_url(asked, "invalid_scope") if issuer.habits.redirects_scope_errors else ""
        return _refused("invalid_scope", back)
    if asked.challenge and asked.method not in ("plain", "S256"):
        return _refused("invalid_code_challenge_method")
    return asked


def allow(issuer: Issuer, asked: AuthorizationRequest, user: str, now: float, orgs: tuple[str, ...] = ()) -> str:
    """Make a code for a user who allowed the request, and return where the browser goes with it."""
    text = issuer.secret_string()
    issuer.codes[text] = Code(
        asked.client_id,
        asked.redirect_uri,
        asked.scope,
        asked.challenge,
        asked.method,
        user,
        now + CODE_LIFE_SECONDS,
        orgs,
    )
    return _with_query(asked.redirect_uri, {"code": text, "state": asked.state})


def deny(asked: AuthorizationRequest) -> str:
    """Return where the browser goes when the user said no (RFC 6749 §4.1.2.1)."""
    return error_url(asked, "access_denied")


def error_url(asked: AuthorizationRequest, code: str) -> str:
    """Return where the browser goes with an error."""
    return _with_query(asked.redirect_uri, {"error": code, "error_description": TEXTS[code], "state": asked.state})


def _scope(issuer: Issuer, asked: str, known: tuple[str, ...]) -> str:
    """Return the scope to grant, in the order asked; empty where one name is unknown. Nothing asked: all."""
    if not asked.strip():
        return " ".join(known)
    names = (asked.replace(",", " ") if issuer.habits.comma_scope else asked).split(" ")
    names = [name for name in dict.fromkeys(names) if name]
    return " ".join(names) if set(names) <= set(known) else ""


def _refused(code: str, redirect_to: str = "") -> Refusal:
    return Refusal(code, TEXTS[code], redirect_to)


def _missing(name: str) -> Refusal:
    return Refusal("invalid_request", f"Missing required parameter: {name}.")


def _with_query(url: str, more: Mapping[str, str]) -> str:
    parts = urlsplit(url)
    query = [*parse_qsl(parts.query), *((k, v) for k, v in more.items() if v)]
    return urlunsplit(parts._replace(query=urlencode(query)))
