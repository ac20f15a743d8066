"""Discovery: what a server says about itself, read from its well-known document (RFC 8414, OpenID Connect Discovery).

It is believed in what a provider file would say: addresses, how clients prove who they are, PKCE; never in what a grant
hangs on, such as rotation, of which these documents say nothing.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from tasks.oauth.answer import Response
from tasks.oauth.errors import DiscoveryError
from tasks.oauth.messages import Request
from tasks.oauth.shapes import Auth
from tasks.oauth.transport import Transport

DEADLINE: Final = timedelta(seconds=20)
OK: Final = 200
REDIRECTS: Final = range(300, 400)

ADDRESSES: Final = {
    "authorize_url": "authorization_endpoint",
    "token_url": "token_endpoint",
    "revoke_url": "revocation_endpoint",
    "introspect_url": "introspection_endpoint",
}
# RFC 8414 §2 and RFC 8705 §2: what a server calls each way of a client to prove who it is.
METHODS: Final = {
    "client_secret_basic": Auth.BASIC,
    "client_secret_post": Auth.BODY,
    "none": Auth.NONE,
    "private_key_jwt": Auth.PRIVATE_KEY_JWT,
    "tls_client_auth": Auth.MTLS,
    "self_signed_tls_client_auth": Auth.MTLS,
}
DEFAULT_METHODS: Final = ("client_secret_basic",)


@dataclass(frozen=True, slots=True)
class Document:
    """What a server says about itself; `members` as they came."""

    issuer: str
    members: Mapping[str, Any]

    @property
    def auths(self) -> tuple[Auth, ...]:
        """The ways to prove who we are that the server takes and we know, in our own order."""
        listed = self.members.get("token_endpoint_auth_methods_supported")
        methods = listed if isinstance(listed, list) else DEFAULT_METHODS
        return tuple(dict.fromkeys(auth for name, auth in METHODS.items() if name in methods))

    def overrides(self, auth: Auth) -> dict[str, Any]:
        """What a client says differently from its provider file, as the server wants it.

        A server that is silent about PKCE is sent a challenge all the same: one that knows none must ignore it
        (RFC 6749 §3.1).
        """
        aliases = self.members.get("mtls_endpoint_aliases") if auth is Auth.MTLS else None
        members = dict(self.members) | (aliases if isinstance(aliases, dict) else {})
        found = {name: members[member] for name, member in ADDRESSES.items() if isinstance(members.get(member), str)}
        challenges = members.get("code_challenge_methods_supported")
        if isinstance(challenges, list):
            found["pkce"] = "S256" in challenges
        named = members.get("authorization_response_iss_parameter_supported") is True
        return {**found, "issuer": self.issuer, "issuer_in_callback": named, "auth": auth.value}


def fetch(transport: Transport, issuer: str) -> Document:
    """Ask a server for its document; once at each address that it may stand at, and nothing is followed.

    Raises:
        DiscoveryError: there is none, or it is not this issuer's.

    """
    told: list[str] = []
    for url in addresses_of(issuer):
        request = Request("GET", url, {"Accept": "application/json"})
        answer = transport.submit(transport.send(request, deadline=DEADLINE)).result()
        if not isinstance(answer, Response):
            message = f"the server cannot be asked for {url}: {answer.code}"
            raise DiscoveryError(message)
        if answer.status == OK and (members := _members(answer.body)) is not None:
            return read(issuer, members)
        told.append(f"{url} {_said(answer.status)}")
    message = f"the server at {issuer} says nothing about itself: {', '.join(told)}"
    raise DiscoveryError(message)


def _said(status: int) -> str:
    if status in REDIRECTS:
        return "redirects, which is never followed"
    return "answers with no JSON object that names an issuer" if status == OK else f"answers {status}"


def addresses_of(issuer: str) -> Sequence[str]:
    """Where an issuer's document may stand: RFC 8414 §3.1 puts the well-known part before its path, OpenID after it."""
    parts = urlsplit(issuer)
    host, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    wanted = (
        f"{host}/.well-known/oauth-authorization-server{path}",
        f"{host}{path}/.well-known/openid-configuration",
        f"{host}/.well-known/openid-configuration{path}",
    )
    return tuple(dict.fromkeys(wanted))


def _members(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("issuer"), str) else None


def read(issuer: str, members: Mapping[str, Any]) -> Document:
    """Read a document that was found where this issuer's should be.

    Raises:
        DiscoveryError: it is another's (RFC 8414 §3.3), has no token endpoint, or leads from a server to this machine.

    """
    if members["issuer"] != issuer:
        message = f"the document found for {issuer} names another issuer, {members['issuer'][:200]!r}"
        raise DiscoveryError(message)
    document = Document(issuer, members)
    found = document.overrides(Auth.MTLS)
    if "token_url" not in found:
        message = f"the document of {issuer} names no token_endpoint"
        raise DiscoveryError(message)
    plain = [name for name in ADDRESSES if urlsplit(found.get(name, "")).scheme == "http"]
    if plain and urlsplit(issuer).scheme != "http":
        message = f"the document of {issuer} names an address without https: {ADDRESSES[plain[0]]}"
        raise DiscoveryError(message)
    return document


def chosen(document: Document, fitting: Sequence[Auth]) -> Auth:
    """The first of the ways that fit our credentials which the server takes.

    Raises:
        DiscoveryError: it takes none of them.

    """
    auth = next((each for each in fitting if each in document.auths), None)
    if auth is None:
        taken = ", ".join(document.auths) or "nothing that is known here"
        message = f"{document.issuer} takes {taken}, and what was given fits {' or '.join(fitting)}"
        raise DiscoveryError(message)
    return auth
