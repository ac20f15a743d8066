"""Revocation requests in every shape that providers want: verb, place, proof, token, name and further members."""

import base64
import json
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from tasks.oauth.errors import LabelNeeded, MissingSetting, ProviderFileError
from tasks.oauth.messages import Registration, Request
from tasks.oauth.provider import Provider
from tasks.oauth.revocation import already_gone, revoke

SECRET = "s3cr3t-of-the-client"


def registration(**fields: Any) -> Registration:
    values = {"name": "example", "token_url": "https://id.example/token", "revoke_url": "https://id.example/revoke"}
    return Registration(Provider.checked("test", values | fields), "our id", SECRET)


def members(request: Request) -> dict[str, str]:
    if request.headers["Content-Type"] == "application/json":
        found: dict[str, str] = json.loads(request.body)
        return found
    return dict(parse_qsl(request.body.decode()))


@pytest.mark.parametrize(("wants", "sent"), [(True, "refresh_token"), (False, None)])
def test_a_revocation_sends_the_hint_only_where_it_is_wanted(wants: bool, sent: str | None) -> None:
    request = revoke(registration(revoke_hint=wants), token="t", hint="refresh_token")

    assert (request.method, request.url) == ("POST", "https://id.example/revoke")
    assert members(request).get("token_type_hint") == sent
    assert members(request)["token"] == "t"
    assert members(request)["client_secret"] == SECRET


def test_the_provider_may_call_the_token_what_it_likes() -> None:
    """TikTok's clients send it as access_token."""
    request = revoke(registration(revoke_parameter="access_token", revoke_hint=False), token="t")

    assert members(request) == {"access_token": "t", "client_id": "our id", "client_secret": SECRET}


def test_a_token_in_the_address_is_percent_encoded_and_no_log_may_show_it() -> None:
    """HubSpot's first interface: DELETE /oauth/v1/refresh-tokens/{token}, without a proof."""
    ours = registration(
        revoke_url="https://id.example/v1/refresh-tokens/{token}",
        revoke_method="DELETE",
        revoke_body="none",
        revoke_auth="none",
    )

    request = revoke(ours, token="r/+ü?", hint="refresh_token")

    assert (request.method, request.body) == ("DELETE", b"")
    assert request.url == "https://id.example/v1/refresh-tokens/r%2F%2B%C3%BC%3F"
    assert request.endpoint == "https://id.example"
    assert "refresh-tokens" not in repr(request)
    assert already_gone(ours.provider) == {404, 410}
    assert request.headers == {"Accept": "application/json"}


def test_only_an_address_that_names_the_token_may_be_gone_with_it() -> None:
    assert already_gone(registration(revoke_method="DELETE").provider) == frozenset()


def test_the_client_is_named_in_the_address_and_proven_by_basic() -> None:
    """GitHub: DELETE /applications/{client_id}/grant, Basic, the access token in JSON."""
    ours = registration(
        revoke_url="https://id.example/applications/{client_id}/grant",
        revoke_method="DELETE",
        revoke_body="json",
        revoke_auth="basic",
        revoke_token="access",
        revoke_parameter="access_token",
        revoke_hint=False,
        basic_encoded=False,
    )

    request = revoke(ours, token="at", hint="access_token", access_token="at")

    assert request.url == "https://id.example/applications/our%20id/grant"
    assert members(request) == {"access_token": "at"}
    header = request.headers["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(header).decode() == f"our id:{SECRET}"


def test_all_goes_into_the_query_where_the_provider_wants_it_there_and_the_log_shows_none_of_it() -> None:
    """Zoho: POST …/revoke?token=…, without a proof."""
    ours = registration(revoke_body="query", revoke_auth="none", revoke_hint=False)

    request = revoke(ours, token="r&t")

    assert parse_qs(urlsplit(request.url).query) == {"token": ["r&t"]}
    assert (request.body, request.endpoint) == (b"", "https://id.example/revoke")


@pytest.mark.parametrize(
    ("auth", "header"),
    [("bearer", "Bearer at"), ("secret", f"Client {SECRET}"), ("bearer_secret", f"Bearer {SECRET}")],
)
def test_the_grants_own_token_or_the_secret_alone_may_be_the_proof(auth: str, header: str) -> None:
    request = revoke(registration(revoke_auth=auth), token="r", access_token="at")

    assert request.headers["Authorization"] == header
    assert members(request) == {"token": "r"}


def test_labels_may_say_whose_grant_ends_and_no_token_is_named() -> None:
    """Stripe: client_id and stripe_user_id."""
    ours = registration(
        revoke_token="neither",
        revoke_auth="bearer_secret",
        revoke_parameters={"client_id": "{client_id}", "stripe_user_id": "{stripe_user_id}"},
    )

    request = revoke(ours, token=None, labels={"stripe_user_id": ["acct_1"]})

    assert members(request) == {"client_id": "our id", "stripe_user_id": "acct_1"}


@pytest.mark.parametrize("labels", [{}, {"stripe_user_id": ["a", "b"]}])
def test_without_its_one_label_nothing_is_written_and_it_is_said_which(labels: dict[str, list[str]]) -> None:
    ours = registration(revoke_token="neither", revoke_parameters={"user": "{stripe_user_id}"})

    with pytest.raises(LabelNeeded, match=r"'stripe_user_id'.*grants set REF --label stripe_user_id=VALUE"):
        revoke(ours, token=None, labels=labels)


def test_a_label_in_a_revocation_says_who_shares_its_end_only_where_a_whole_grant_ends() -> None:
    parameters = {"merchant": "{merchant_id}", "app": "{client_id}"}

    assert registration(revoke_parameters=parameters).provider.labels_revoked_by == {"merchant_id"}
    assert registration(revoke_parameters=parameters, revocation="token").provider.labels_revoked_by == set()


def test_without_an_address_there_is_no_revocation() -> None:
    with pytest.raises(MissingSetting, match="revoke_url"):
        revoke(registration(revoke_url=None), token="t")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"revoke_method": "GET"}, 'revoke_body must be "query" or "none"'),
        ({"revoke_body": "none", "revoke_auth": "none"}, "write {token} into revoke_url"),
        ({"revoke_body": "none", "revoke_token": "neither"}, "write another revoke_auth"),
        (
            {"revoke_body": "none", "revoke_token": "neither", "revoke_auth": "none", "revoke_parameters": {"a": "b"}},
            "leaves revoke_parameters no place",
        ),
        ({"revoke_parameters": {"token": "x"}}, "revoke_parameters must not set token"),
    ],
)
def test_what_has_no_place_in_a_revocation_is_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ProviderFileError, match=told):
        registration(**fields)
