"""Authentication: what says in a request who it is from, as the client's `auth` wants it.

body, basic       the client's secret (RFC 6749 §2.3.1)
none              a public client: its id alone; PKCE binds the code to us (RFC 7636)
private_key_jwt   an assertion signed with a key of ours (RFC 7523 §2.2)
mtls              its id alone; the certificate is shown by TLS itself (RFC 8705 §2)
"""

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, assert_never
from urllib.parse import quote_plus

from tasks.oauth.errors import ClientKeyError
from tasks.oauth.shapes import Auth, Basic

if TYPE_CHECKING:  # it brings cryptography, as jwt does, and few clients have a key
    from tasks.oauth.client_key import ClientKey

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
# Long enough for a slow connection and a clock that is a little off; whoever reads it later can do nothing with it.
ASSERTION_LIVES: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client proves with who it is; `key` at `private_key_jwt` and `mtls`, where the secret is its PEM."""

    client_id: str
    secret: str = field(repr=False)
    key: "ClientKey | None" = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class Proof:
    """What a request says of who it is from; neither is fit for a log."""

    headers: Mapping[str, str] = field(repr=False, default_factory=dict)
    members: Mapping[str, str] = field(repr=False, default_factory=dict)


def proof(
    auth: Auth,
    credentials: Credentials,
    *,
    id_parameter: str,
    basic: Basic = Basic.ID_AND_SECRET,
    basic_encoded: bool,
    audience: str,
    at: datetime | None,
) -> Proof:
    """Say who we are.

    Args:
        auth: how.
        credentials: who.
        id_parameter: what the client's id is called in a body.
        basic: what Basic holds.
        basic_encoded: whether id and secret are form-encoded before Basic.
        audience: whom an assertion is for.
        at: the instant of sending: an assertion is good for a minute from then. Only that form needs it; without it
            the assertion is left out, for whoever sends has the time.

    Raises:
        ClientKeyError: the client has no key.

    """
    named = {id_parameter: credentials.client_id}
    match auth:
        case Auth.BODY:
            return Proof(members=named | {"client_secret": credentials.secret})
        case Auth.BASIC:
            header = {"Authorization": _basic(credentials, basic, encoded=basic_encoded)}
            return Proof(headers=header, members=named if basic is Basic.BESIDE_ID else {})
        case Auth.NONE | Auth.MTLS:
            return Proof(members=named)
        case Auth.PRIVATE_KEY_JWT if at is None:
            return Proof(members=named)
        case Auth.PRIVATE_KEY_JWT:
            signed = _assertion(credentials, audience, at)
            return Proof(members=named | {"client_assertion_type": ASSERTION_TYPE, "client_assertion": signed})
        case _:
            assert_never(auth)


def _basic(credentials: Credentials, basic: Basic, *, encoded: bool) -> str:
    """RFC 6749 §2.3.1: both parts are form-encoded first, unless the provider is known not to decode them."""
    parts = [credentials.secret, ""] if basic is Basic.SECRET else [credentials.client_id, credentials.secret]
    if encoded:
        parts = [quote_plus(part) for part in parts]
    return "Basic " + base64.b64encode(":".join(parts).encode()).decode()


def _assertion(credentials: Credentials, audience: str, at: datetime) -> str:
    """RFC 7523 §3: who says it, of whom, to whom, once, and for how long."""
    import jwt

    key = needed(credentials.key)
    claims = {
        "iss": credentials.client_id,
        "sub": credentials.client_id,
        "aud": audience,
        "jti": secrets.token_urlsafe(16),
        "iat": int(at.timestamp()),
        "exp": int((at + ASSERTION_LIVES).timestamp()),
    }
    return jwt.encode(claims, key.private_key, algorithm=key.algorithm, headers={"kid": key.key_id})


def needed(key: "ClientKey | None") -> "ClientKey":
    """Return the key.

    Raises:
        ClientKeyError: the client has none.

    """
    if key is None:
        message = "this client has no private key yet: give it one with `evergrant clients set-secret`"
        raise ClientKeyError(message)
    return key
