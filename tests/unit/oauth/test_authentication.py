"""Who a request is from: a secret, an id alone, a signed assertion, a certificate."""

import base64
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

import jwt
import pytest

from tasks.oauth import client_key, messages, revocation
from tasks.oauth.answer import Response
from tasks.oauth.client_key import ClientKey
from tasks.oauth.errors import ClientKeyError
from tasks.oauth.messages import Registration, Request
from tasks.oauth.provider import Provider
from tests.client_keys import with_certificate

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECRET = "s3cr3t-of-the-client"
TOKEN_URL = "https://id.example/token"


def registration(auth: str, *, key: ClientKey | None = None, **fields: object) -> Registration:
    urls = {"token_url": TOKEN_URL, "revoke_url": "https://id.example/revoke", "introspect_url": "https://id.example/i"}
    provider = Provider.model_validate({"name": "example", "auth": auth, **urls, **fields})
    return Registration(provider, "our id", SECRET, "https://us.example/callback", key=key)


def members(request: Request) -> dict[str, str]:
    if request.headers["Content-Type"] == "application/json":
        found: dict[str, str] = json.loads(request.body)
        return found
    return dict(parse_qsl(request.body.decode(), strict_parsing=True))


def refresh(ours: Registration) -> Request:
    return messages.refresh(ours, refresh_token="r")


def claims(request: Request, key: ClientKey, audience: str = TOKEN_URL) -> dict[str, object]:
    """What the assertion says, verified with the public key that it names, as a server does."""
    assertion = members(request)["client_assertion"]
    assert jwt.get_unverified_header(assertion)["kid"] == key.key_id
    public = jwt.PyJWK(key.public_jwk | {"kid": key.key_id})
    return dict(
        jwt.decode(
            assertion,
            public,
            algorithms=[key.algorithm],
            audience=audience,
            options={"verify_exp": False, "verify_iat": False},
        )
    )


def test_a_public_client_sends_its_id_alone_and_proves_the_code_with_pkce() -> None:
    ours = registration("none")
    exchange = members(messages.exchange(ours, code="c", code_verifier="v"))
    assert (exchange["client_id"], exchange["code_verifier"]) == ("our id", "v")
    request = refresh(ours)
    assert members(request) == {"grant_type": "refresh_token", "refresh_token": "r", "client_id": "our id"}
    assert "Authorization" not in request.headers


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
@pytest.mark.parametrize("body", ["form", "json"])
def test_an_assertion_says_who_we_are_for_one_minute_to_one_server(algorithm: str, body: str) -> None:
    key = client_key.made(algorithm)
    request = refresh(registration("private_key_jwt", key=key, body=body)).signed(AT)
    said = claims(request, key)
    assert members(request)["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    assert members(request)["client_id"] == "our id"
    assert "client_secret" not in members(request)
    assert (said["iss"], said["sub"], said["aud"]) == ("our id", "our id", TOKEN_URL)
    assert (said["iat"], said["exp"]) == (int(AT.timestamp()), int(AT.timestamp()) + 60)


def test_each_sending_is_signed_anew_at_its_own_instant() -> None:
    key = client_key.made("ES256")
    request = refresh(registration("private_key_jwt", key=key))
    first, second = (claims(request.signed(AT + timedelta(seconds=n)), key) for n in (0, 7))
    assert first["jti"] != second["jti"]
    assert second["iat"] == first["iat"] + 7  # type: ignore[operator]


def test_an_assertion_is_for_whom_the_provider_file_says_also_where_it_goes_elsewhere() -> None:
    key = client_key.made("ES256")
    ours = registration("private_key_jwt", key=key, jwt_audience="https://id.example")
    revoke = revocation.revoke(ours, token="r", hint="refresh_token").signed(AT)
    introspect = messages.introspect(registration("private_key_jwt", key=key), token="r")
    assert claims(revoke, key, "https://id.example")["sub"] == "our id"
    assert claims(introspect.signed(AT), key)["sub"] == "our id"
    assert members(introspect.signed(AT))["token_type_hint"] == "refresh_token"


def test_a_certificate_is_shown_by_tls_and_the_body_has_the_id() -> None:
    key = with_certificate()
    request = refresh(registration("mtls", key=key))
    assert request.certificate is key
    assert members(request) == {"grant_type": "refresh_token", "refresh_token": "r", "client_id": "our id"}


def test_a_request_knows_the_assertion_that_it_shows_so_that_nothing_repeats_it() -> None:
    request = refresh(registration("private_key_jwt", key=client_key.made("ES256"))).signed(AT)
    assert len(request.assertion) > 100
    assert request.assertion in request.body.decode()
    assert request.assertion not in repr(request)
    told = Response(400, {}, b"{}", request.assertion)
    assert request.assertion not in repr(told)


@pytest.mark.parametrize("auth", ["private_key_jwt", "mtls"])
def test_a_client_without_its_key_sends_nothing_and_says_so(auth: str) -> None:
    with pytest.raises(ClientKeyError, match="set-secret"):
        refresh(registration(auth))


@pytest.mark.parametrize("auth", ["body", "basic", "none"])
def test_other_requests_are_complete_when_they_are_made(auth: str) -> None:
    request = refresh(registration(auth))
    assert request.signed(AT) is request
    assert request.certificate is None


@pytest.mark.parametrize(
    ("basic", "name_and_password", "named"),
    [
        ("id_and_secret", f"our+id:{SECRET}", False),
        ("beside_id", f"our+id:{SECRET}", True),
        ("secret", f"{SECRET}:", False),
    ],
)
def test_basic_holds_what_the_provider_wants(basic: str, name_and_password: str, *, named: bool) -> None:
    request = refresh(registration("basic", basic=basic))
    assert request.headers["Authorization"] == "Basic " + base64.b64encode(name_and_password.encode()).decode()
    assert ("client_id" in members(request)) is named
    assert "client_secret" not in members(request)


def test_the_id_is_called_as_the_provider_calls_it() -> None:
    assert members(refresh(registration("none", client_id_parameter="client_key")))["client_key"] == "our id"


def test_no_key_and_no_assertion_is_in_a_repr() -> None:
    key = with_certificate()
    for auth in ("private_key_jwt", "mtls"):
        ours = registration(auth, key=key)
        told = repr(ours) + repr(refresh(ours)) + repr(refresh(ours).signed(AT)) + repr(key)
        assert "PRIVATE KEY" not in told
        assert "eyJ" not in told
        assert SECRET not in told
    assert base64.b64encode(SECRET.encode()).decode() not in repr(refresh(registration("basic")))


def test_where_every_customer_has_a_server_an_assertion_is_for_the_grants_own() -> None:
    key = client_key.made("ES256")
    provider = Provider.model_validate(
        {
            "name": "example",
            "auth": "private_key_jwt",
            "token_url": "https://{shop}.example.com/token",
            "hosts": ["*.example.com"],
        }
    )
    request = messages.refresh(Registration(provider, "our id", "", key=key), refresh_token="r", labels={"shop": "a"})
    signed = request.signed(AT)
    assert signed.url == "https://a.example.com/token"
    assert claims(signed, key, "https://a.example.com/token")["sub"] == "our id"
    assert signed.public_only
