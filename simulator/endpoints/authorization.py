"""Consent: what the authorize page asks, the code it hands out, and the pair that a code becomes."""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from simulator.answers import TEXTS
from simulator.ledger import Pair
from simulator.traffic import Request

if TYPE_CHECKING:
    from simulator.provider import SimulatedProvider

CODE_LIFE_SECONDS = 600.0


@dataclass(slots=True)
class Wish:
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


@dataclass(slots=True)
class Code:
    """An authorization code, good once."""

    client_id: str
    redirect_uri: str
    scope: str
    challenge: str
    method: str
    user: str
    expires_at: float
    orgs: tuple[str, ...] = ()
    spent: bool = False
    pair: Pair | None = None

    def redeemable(self, now: float) -> bool:
        """Say whether the code was never used and is not too old."""
        return not self.spent and now <= self.expires_at

    def verified_by(self, verifier: str) -> bool:
        """Check the verifier against the challenge (RFC 7636 §4.6); without a challenge none is wanted."""
        if not self.challenge:
            return not verifier
        if self.method == "plain":
            return verifier == self.challenge
        digest = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        return digest == self.challenge


def read(provider: "SimulatedProvider", params: Mapping[str, str]) -> Wish | Refusal:
    """Check an authorize request in Doorkeeper's order."""
    if not (client_id := params.get("client_id", "")):
        return _missing("client_id")
    client = provider.clients.get(client_id)
    if client is None:
        return _refused("invalid_client")
    if params.get("redirect_uri", "") not in client.redirect_uris:
        return _refused("invalid_redirect_uri")
    return _read_wish(provider, params, client.scopes)


def _read_wish(provider: "SimulatedProvider", params: Mapping[str, str], known: tuple[str, ...]) -> Wish | Refusal:
    wish = Wish(
        params["client_id"],
        params["redirect_uri"],
        _scope(provider, params.get("scope", ""), known),
        params.get("state", ""),
        params.get("code_challenge", ""),
        params.get("code_challenge_method", ""),
    )
    if not (response_type := params.get("response_type", "")):
        return _missing("response_type")
    if response_type != "code":
        return _refused("unsupported_response_type")
    if not wish.scope:
        back = error_url(wish, "invalid_scope") if provider.habits.redirects_scope_errors else ""
        return _refused("invalid_scope", back)
    if wish.challenge and wish.method not in ("plain", "S256"):
        return _refused("invalid_code_challenge_method")
    return wish


def allow(provider: "SimulatedProvider", wish: Wish, user: str, now: float, orgs: tuple[str, ...] = ()) -> str:
    """Make a code for a user who allowed the request, and return where the browser goes with it."""
    text = provider.secret_string()
    provider.codes[text] = Code(
        wish.client_id,
        wish.redirect_uri,
        wish.scope,
        wish.challenge,
        wish.method,
        user,
        now + CODE_LIFE_SECONDS,
        orgs,
    )
    return _with_query(wish.redirect_uri, {"code": text, "state": wish.state})


def deny(wish: Wish) -> str:
    """Return where the browser goes when the user said no (RFC 6749 §4.1.2.1)."""
    return error_url(wish, "access_denied")


def error_url(wish: Wish, code: str) -> str:
    """Return where the browser goes with an error."""
    return _with_query(wish.redirect_uri, {"error": code, "error_description": TEXTS[code], "state": wish.state})


def redeem(provider: "SimulatedProvider", code: Code, request: Request, now: float) -> Pair:
    """Turn a code into a pair: a new grant's first one, or the living one where the habit says so."""
    code.spent = True
    if provider.habits.reuse_access_token and (pair := _living_pair(provider, code, now)):
        return pair
    grant = provider.ledger.open_grant(
        ref=code.user,
        client_id=code.client_id,
        orgs=code.orgs or provider.default_orgs,
        lifetime=provider.lifetime_seconds,
        now=now,
    )
    return provider.issue(grant, scope=code.scope, now=now, request=request.number)


def _living_pair(provider: "SimulatedProvider", code: Code, now: float) -> Pair | None:
    pairs = [
        pair
        for grant in provider.ledger.by_ref.get(code.user, ())
        if grant.client_id == code.client_id
        for pair in grant.pairs.values()
        if pair.access_alive(now) and set(pair.scope.split()) == set(code.scope.split())
    ]
    return max(pairs, key=lambda pair: pair.number, default=None)


def _scope(provider: "SimulatedProvider", asked: str, known: tuple[str, ...]) -> str:
    """Return the scope to grant, in the order asked; empty where one name is unknown. Nothing asked: all."""
    if not asked.strip():
        return " ".join(known)
    names = (asked.replace(",", " ") if provider.habits.comma_scope else asked).split(" ")
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
