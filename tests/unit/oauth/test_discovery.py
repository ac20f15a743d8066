"""What a server says about itself becomes what a client says differently from its provider file."""

from typing import Any

import pytest

from tasks.oauth import discovery
from tasks.oauth.errors import DiscoveryError
from tasks.oauth.shapes import Auth

ISSUER = "https://id.example/realms/one"


def document(**members: Any) -> dict[str, Any]:
    return {"issuer": ISSUER, "token_endpoint": f"{ISSUER}/token"} | members


def test_the_well_known_part_stands_before_the_path_and_for_openid_behind_it() -> None:
    assert discovery.addresses_of("https://id.example/realms/one/") == (
        "https://id.example/.well-known/oauth-authorization-server/realms/one",
        "https://id.example/realms/one/.well-known/openid-configuration",
        "https://id.example/.well-known/openid-configuration/realms/one",
    )
    assert discovery.addresses_of("https://id.example:8443") == (
        "https://id.example:8443/.well-known/oauth-authorization-server",
        "https://id.example:8443/.well-known/openid-configuration",
    )


def test_each_address_is_taken_over_and_nothing_is_made_up() -> None:
    found = discovery.read(ISSUER, document(revocation_endpoint=f"{ISSUER}/revoke", userinfo_endpoint="x"))
    assert found.overrides(Auth.BASIC) == {
        "token_url": f"{ISSUER}/token",
        "revoke_url": f"{ISSUER}/revoke",
        "issuer": ISSUER,
        "issuer_in_callback": False,
        "auth": "basic",
    }


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, None),
        ({"code_challenge_methods_supported": ["plain", "S256"]}, True),
        ({"code_challenge_methods_supported": ["plain"]}, False),
    ],
)
def test_a_challenge_is_left_out_only_where_the_server_says_that_it_wants_another_kind(
    said: dict[str, Any], expected: bool | None
) -> None:
    assert discovery.read(ISSUER, document(**said)).overrides(Auth.BASIC).get("pkce") is expected


def test_a_client_with_a_certificate_goes_where_the_server_wants_it_to_go() -> None:
    aliases = {"token_endpoint": "https://mtls.id.example/token"}
    found = discovery.read(ISSUER, document(mtls_endpoint_aliases=aliases, revocation_endpoint=f"{ISSUER}/r"))
    assert found.overrides(Auth.MTLS)["token_url"] == "https://mtls.id.example/token"
    assert found.overrides(Auth.MTLS)["revoke_url"] == f"{ISSUER}/r"
    assert found.overrides(Auth.BASIC)["token_url"] == f"{ISSUER}/token"


@pytest.mark.parametrize(
    ("methods", "fitting", "auth"),
    [
        (None, (Auth.BASIC, Auth.BODY), Auth.BASIC),
        (["client_secret_post"], (Auth.BASIC, Auth.BODY), Auth.BODY),
        (["client_secret_post", "client_secret_basic"], (Auth.BASIC, Auth.BODY), Auth.BASIC),
        (["none"], (Auth.NONE, Auth.BASIC), Auth.NONE),
        (["private_key_jwt", "client_secret_jwt"], (Auth.PRIVATE_KEY_JWT, Auth.MTLS), Auth.PRIVATE_KEY_JWT),
        (["self_signed_tls_client_auth"], (Auth.MTLS,), Auth.MTLS),
    ],
)
def test_of_what_the_server_takes_that_is_chosen_which_fits_our_credentials(
    methods: list[str] | None, fitting: tuple[Auth, ...], auth: Auth
) -> None:
    said = {} if methods is None else {"token_endpoint_auth_methods_supported": methods}
    assert discovery.chosen(discovery.read(ISSUER, document(**said)), fitting) is auth


def test_credentials_that_no_server_takes_are_told_with_what_it_takes() -> None:
    found = discovery.read(ISSUER, document(token_endpoint_auth_methods_supported=["private_key_jwt"]))
    with pytest.raises(DiscoveryError, match="takes private_key_jwt, and what was given fits basic or body"):
        discovery.chosen(found, (Auth.BASIC, Auth.BODY))


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"issuer": "https://evil.example"}, "names another issuer, 'https://evil.example'"),
        ({"issuer": ISSUER + "/"}, "names another issuer"),
        ({"token_endpoint": None}, "no token_endpoint"),
        ({"token_endpoint": "http://127.0.0.1/token"}, "without https: token_endpoint"),
        ({"revocation_endpoint": "http://id.example/r"}, "without https: revocation_endpoint"),
    ],
)
def test_a_document_that_is_anothers_or_leads_elsewhere_is_not_believed(members: dict[str, Any], told: str) -> None:
    with pytest.raises(DiscoveryError, match=told):
        discovery.read(ISSUER, document(**members))
