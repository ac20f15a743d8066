"""Shapes: how requests to a provider are written, who they are from, and what a revocation kills."""

from enum import StrEnum


class Body(StrEnum):
    """How a request to the token endpoint is written."""

    JSON = "json"  # Doorkeeper and Event Temple take it; strict RFC 6749 servers do not
    FORM = "form"  # RFC 6749 §4.1.3


class Auth(StrEnum):
    """How the client proves who it is (RFC 6749 §2.3.1)."""

    BODY = "body"  # client_id and client_secret are members of the body
    BASIC = "basic"  # the Authorization header, and then nothing in the body
    NONE = "none"  # a public client: its id alone, PKCE does the rest (RFC 7636)
    PRIVATE_KEY_JWT = "private_key_jwt"  # an assertion signed with a key of ours (RFC 7523 §2.2)
    MTLS = "mtls"  # a client certificate (RFC 8705); its id is in the body


class Basic(StrEnum):
    """What Basic holds, where `auth` is `basic`."""

    ID_AND_SECRET = "id_and_secret"  # noqa: S105  # RFC 6749 §2.3.1
    BESIDE_ID = "beside_id"  # the same, and the body names the client's id as well (Cvent)
    SECRET = "secret"  # noqa: S105  # the secret as the name, and no password (Stripe)


class Kind(StrEnum):
    """How grants of a client come to be, and what renews them."""

    CODE = "code"  # a user consents (RFC 6749 §4.1); a refresh token renews it
    CLIENT_CREDENTIALS = "client_credentials"  # no user (RFC 6749 §4.4): the client's own credentials renew it
    EXCHANGE = "exchange"  # a user consents; the access token itself is exchanged for its successor (Meta)


class LifeFrom(StrEnum):
    """Who tells how long an access token lives."""

    ANSWER = "answer"  # the token answer (RFC 6749 §5.1)
    INTROSPECTION = "introspection"  # where that says nothing, an introspection of the token (RFC 7662 §2.2)


class Method(StrEnum):
    """How a request is made."""

    POST = "POST"
    GET = "GET"
    DELETE = "DELETE"
    PUT = "PUT"


class RevokeBody(StrEnum):
    """Where the members of a revocation go."""

    JSON = "json"
    FORM = "form"
    QUERY = "query"
    NONE = "none"  # the address says it all


class RevokeAuth(StrEnum):
    """Who a revocation says that it is from."""

    CLIENT = "client"  # as any other request of the client: see `auth`
    BASIC = "basic"
    BODY = "body"
    BEARER = "bearer"  # the grant's own access token
    SECRET = "secret"  # noqa: S105  # `Authorization: Client SECRET` (Square)
    BEARER_SECRET = "bearer_secret"  # noqa: S105  # the client's secret as Bearer (Stripe)
    NONE = "none"


class Presented(StrEnum):
    """Which token a revocation names."""

    REFRESH = "refresh"
    ACCESS = "access"
    NEITHER = "neither"  # `revoke_parameters` say whose it is


class Reach(StrEnum):
    """What one revocation kills."""

    TOKEN = "token"  # noqa: S105 (the pair that the token belongs to)
    REFRESH = "refresh"  # the refresh token alone: access tokens live to their end
    GRANT = "grant"  # everything that this user ever gave to this client, a newer consent included
