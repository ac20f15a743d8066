"""Grants without a refresh token: what is asked for them, and what their provider files may say."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tasks.oauth import messages, provider
from tasks.oauth.errors import ProviderFileError
from tasks.oauth.messages import Registration
from tasks.oauth.provider import Provider
from tasks.oauth.rotation import Rotation
from tasks.oauth.shapes import Kind, Presented

SECRET = "s3cr3t-of-the-client"


def made(**fields: Any) -> Provider:
    return Provider.checked("test", {"name": "example", "token_url": "https://id.example/token"} | fields)


def test_client_credentials_ask_with_the_scopes_of_the_client_and_never_send_what_is_held() -> None:
    ours = made(kind="client_credentials", scopes=["a", "b"], body="json")

    of_file = messages.refresh(Registration(ours, "id", SECRET), refresh_token="held")
    of_client = messages.refresh(Registration(ours, "id", SECRET, scopes=("c",)), refresh_token="held")

    assert json.loads(of_file.body) == {
        "grant_type": "client_credentials",
        "scope": "a b",
        "client_id": "id",
        "client_secret": SECRET,
    }
    assert json.loads(of_client.body)["scope"] == "c"
    assert b"held" not in of_file.body


def test_an_access_token_is_exchanged_by_get_with_everything_in_the_query_and_no_log_shows_it() -> None:
    """Meta's long-lived tokens."""
    ours = made(
        kind="exchange",
        refresh_method="GET",
        refresh_grant_type="fb_exchange_token",
        refresh_parameter="fb_exchange_token",
    )

    request = messages.refresh(Registration(ours, "id", SECRET), refresh_token="a&t")

    assert (request.method, request.body) == ("GET", b"")
    assert parse_qs(urlsplit(request.url).query) == {
        "grant_type": ["fb_exchange_token"],
        "fb_exchange_token": ["a&t"],
        "client_id": ["id"],
        "client_secret": [SECRET],
    }
    assert request.endpoint == "https://id.example/token"
    assert SECRET not in repr(request)


@pytest.mark.parametrize("kind", ["client_credentials", "exchange"])
def test_where_no_refresh_token_is_nothing_rotates_and_the_access_token_is_revoked(kind: str) -> None:
    ours = made(kind=kind)

    assert (ours.rotation, ours.revoke_token) == (Rotation.NONE, Presented.ACCESS)


def test_a_client_may_be_of_another_kind_than_its_file_says_and_what_goes_with_it_follows() -> None:
    simulator = provider.load("simulator", folder=Path("/nowhere"))

    ours = simulator.with_overrides(kind="client_credentials")
    back = ours.with_overrides(kind="code")

    assert (ours.kind, ours.rotation, ours.probe) == (Kind.CLIENT_CREDENTIALS, Rotation.NONE, False)
    assert (back.rotation, back.revoke_token) == (Rotation.FAMILY, Presented.REFRESH)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"probe": True}, "no refresh token to probe"),
        ({"rotation": "family"}, "no refresh token that could rotate"),
        ({"revoke_token": "refresh"}, 'revoke_token must be "access" or "neither"'),
        ({"revocation": "refresh"}, "no refresh token to revoke"),
    ],
)
def test_what_needs_a_refresh_token_is_refused_where_none_is(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ProviderFileError, match=told):
        made(kind="client_credentials", **fields)


def test_event_temples_private_apps_need_no_user() -> None:
    ours = provider.load("event-temple-private", folder=Path("/nowhere"))

    request = messages.refresh(Registration(ours, "id", SECRET), refresh_token="held")

    assert request.url == "https://api.eventtemple.com/oauth/token"
    assert json.loads(request.body) == {
        "grant_type": "client_credentials",
        "scope": "crm_read crm_manage",
        "client_id": "id",
        "client_secret": SECRET,
    }
    assert ours.headers == {"X-API-ORG": "{org}"}
