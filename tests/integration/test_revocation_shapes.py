"""Revocations in the shapes of other providers, against raw servers that tell what they were asked."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.harness import Harness
from tests.integration.revoking import found, revoke
from tests.raw_servers import OK, Bench, Server, answering


def answer(status: int) -> bytes:
    return f"HTTP/1.1 {status} Said\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def client_at(harness: Harness, server: Server, path: str = "/revoke", **more: Any) -> int:
    fields: dict[str, Any] = {"api_url": None, "probe": False, "rotation": "family"}
    client = harness.client(revoke_url=f"http://127.0.0.1:{server.port}{path}", **fields | more)
    harness.run("update evergrant.valves set credentials_proven_no = 1 where client_id = :id", id=client)
    return client


def head(request: bytes) -> str:
    return request.decode().splitlines()[0]


PATH = {"revoke_method": "DELETE", "revoke_body": "none", "revoke_auth": "none"}


def test_a_token_in_the_path_is_deleted(harness: Harness, bench: Bench) -> None:
    server = bench.serve(answering(OK))
    client = client_at(harness, server, "/v1/refresh-tokens/{token}", **PATH)
    harness.grant(client, token="x/y")

    assert revoke(harness, client)["evidence"] == "accepted"
    assert head(server.requests[0]) == "DELETE /v1/refresh-tokens/rt-x%2Fy HTTP/1.1"


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_not_there_any_more_needs_no_revocation(harness: Harness, bench: Bench, status: int) -> None:
    client = client_at(harness, bench.serve(answering(answer(status))), "/tokens/{token}", **PATH)
    harness.grant(client)

    assert revoke(harness, client, looks=1)["evidence"] == "accepted"


def test_a_404_for_an_address_that_names_no_token_is_a_wrong_address(harness: Harness, bench: Bench) -> None:
    client = client_at(harness, bench.serve(answering(answer(404))))
    harness.grant(client)

    assert revoke(harness, client, looks=1)["last_error_code"] == "http_404"


def test_the_grants_own_access_token_is_the_proof(harness: Harness, bench: Bench) -> None:
    server = bench.serve(answering(OK))
    shape: dict[str, Any] = {"revoke_auth": "bearer", "revoke_token": "neither", "revoke_body": "json"}
    client = client_at(harness, server, **shape)
    harness.grant(client)

    assert revoke(harness, client)["evidence"] == "accepted"
    assert b"Authorization: Bearer at-customer-1\r\n" in server.requests[0]
    assert server.requests[0].endswith(b"\r\n\r\n{}")


def test_the_proof_stands_in_the_header_that_the_api_wants(harness: Harness, bench: Bench) -> None:
    server = bench.serve(answering(OK))
    shape: dict[str, Any] = {"revoke_auth": "bearer", "revoke_token": "neither", "revoke_body": "json"}
    client = client_at(harness, server, api_header="X-Shopify-Access-Token: {access_token}", **shape)
    harness.grant(client)

    assert revoke(harness, client)["evidence"] == "accepted"
    assert b"X-Shopify-Access-Token: at-customer-1\r\n" in server.requests[0]
    assert b"Authorization" not in server.requests[0]


def test_a_label_says_whose_grant_ends_and_several_branches_end_with_one_request(
    harness: Harness, bench: Bench
) -> None:
    server = bench.serve(answering(OK))
    shape: dict[str, Any] = {"revoke_token": "neither", "revoke_parameters": {"merchant_id": "{merchant}"}}
    client = client_at(harness, server, revoke_auth="secret", revoke_body="json", **shape)
    grant = harness.grant(client, labels={"merchant": ["m1"]})
    harness.former(grant, "x", kind="surplus")

    assert revoke(harness, client)["evidence"] == "accepted"
    assert [request.partition(b"\r\n\r\n")[2] for request in server.requests] == [b'{"merchant_id":"m1"}']
    assert b"Authorization: Client s3cret\r\n" in server.requests[0]


def test_without_the_label_nothing_is_sent_and_it_is_told(harness: Harness, bench: Bench) -> None:
    server = bench.serve(answering(OK))
    shape: dict[str, Any] = {"revoke_token": "neither", "revoke_parameters": {"merchant_id": "{merchant}"}}
    client = client_at(harness, server, **shape)
    harness.grant(client)

    assert revoke(harness, client, looks=1)["last_error_code"] == "label_needed"
    assert server.requests == []


def test_where_the_refresh_token_alone_dies_it_is_said_how_long_access_tokens_live_on(
    harness: Harness, bench: Bench
) -> None:
    """HubSpot's."""
    client = client_at(harness, bench.serve(answering(OK)), revocation="refresh")
    grant = harness.grant(client)
    ends = harness.row(grant)["access_expires_at"]

    assert revoke(harness, client)["evidence"] == "accepted"
    told = harness.one("select data from evergrant.events where type = 'grant.revoked'")["data"]
    assert set(told["because"]) == {"access_tokens_live_on", "no_way_to_look"}
    assert told["access_tokens_end_by"] == ends.isoformat()


def test_there_an_expired_access_token_is_not_renewed_only_to_live_on(harness: Harness, bench: Bench) -> None:
    server = bench.serve(answering(OK))
    client = client_at(harness, server, revocation="refresh", token_url="http://127.0.0.1:1/token")
    harness.grant(client, access_left=timedelta(seconds=-1))

    assert revoke(harness, client, looks=1)["evidence"] == "accepted"
    assert found(harness)["attempts"] == 1
    assert len(server.requests) == 1
