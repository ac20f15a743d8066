"""The token interface over real HTTP: who gets a token, who does not, and what is said then."""

import gzip
import json
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from models import operator_actions, public_listener
from models.database import transaction
from tests.harness import Harness, token_set
from tests.integration.web.asking import Answer, Web
from tests.polling import eventually
from worker.web import applications

Key = Callable[..., str]


@pytest.fixture
def client(harness: Harness) -> int:
    return harness.client()


def test_a_fresh_token_is_handed_out_with_all_that_interface_says(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client, "customer-42")
    answer = web.get("customer-42")
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"].startswith("application/json")
    expires_at = datetime.fromisoformat(answer.json["expires_at"])
    assert timedelta(minutes=39) < expires_at - datetime.now(UTC) <= timedelta(minutes=40)
    assert answer.json == {
        "access_token": "at-customer-42-1",
        "token_type": "Bearer",
        "expires_at": answer.json["expires_at"],
        "generation": 1,
        "ref": "customer-42",
        "client": "demo",
        "headers": {},
        "api_header": "Authorization: Bearer {access_token}",
    }


def test_where_the_api_wants_another_header_the_answer_says_so_without_the_token_in_it(
    harness: Harness, web: Web
) -> None:
    harness.grant(harness.client(api_header="X-Shopify-Access-Token: {access_token}"), "shop")
    assert web.get("shop").json["api_header"] == "X-Shopify-Access-Token: {access_token}"


@pytest.mark.parametrize("ref", ["a/b", "100%", "a%2Fb", "ü ñ 客", "..", ".", "a?b#c", "+", "a\\b", "-x", '"'])
def test_any_ref_works_percent_encoded(harness: Harness, client: int, web: Web, ref: str) -> None:
    harness.grant(client, ref)
    assert web.get(ref).json["ref"] == ref
    assert web.post(ref, "refresh").status == 202


@pytest.mark.parametrize("ref", ["nobody", "a\x00b", "x" * 300, "\udcff"])
def test_an_unknown_ref_is_404_whatever_it_is(harness: Harness, client: int, web: Web, ref: str) -> None:
    target = "".join(f"%{byte:02x}" for byte in ref.encode("utf-8", "surrogateescape"))
    assert web.ask("GET", f"/v1/grants/{target}/token").error == (404, "unknown_ref")
    assert web.ask("POST", f"/v1/grants/{target}/refresh").error == (404, "unknown_ref")


def test_a_ref_of_several_clients_needs_the_client(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client)
    harness.grant(harness.client("other"))
    answer = web.get("customer")
    assert answer.error == (400, "ambiguous_ref")
    assert "demo, other" in answer.json["message"]
    assert web.get("customer", client="other").json["client"] == "other"
    assert web.get("customer", client="third").error == (404, "unknown_ref")


@pytest.mark.parametrize(
    ("authorization", "error"),
    [
        (None, "missing_key"),
        ("Basic abc", "missing_key"),
        ("Bearer ", "missing_key"),
        ("Bearer egk_wrong", "wrong_key"),
        ("Bearer \xff", "wrong_key"),
    ],
)
def test_without_a_key_nothing_is_told(
    harness: Harness, client: int, web: Web, authorization: str | None, error: str
) -> None:
    harness.grant(client)
    headers = {} if authorization is None else {"Authorization": authorization}
    for ref in ("customer", "nobody"):
        answer = web.with_key(None).ask("GET", f"/v1/grants/{ref}/token", headers=headers)
        assert answer.error == (401, error)
        assert answer.headers["www-authenticate"].startswith('Bearer realm="evergrant"')
        assert answer.headers["cache-control"] == "no-store"


def test_a_key_of_one_client_sees_no_other_clients_grants(harness: Harness, client: int, web: Web, key: Key) -> None:
    other = harness.client("other")
    harness.grant(client, "ours")
    harness.grant(other, "theirs")
    harness.grant(client, "both")
    harness.grant(other, "both")
    limited = web.with_key(key("limited", client="demo"))
    assert limited.get("ours").status == 200
    assert limited.get("both").json["client"] == "demo"
    for query in ({}, {"client": "other"}):
        assert limited.get("theirs", **query).error == (404, "unknown_ref")
        for what, members in (("refresh", {}), ("rejected", {"generation": 1}), ("revocation", {})):
            assert limited.post("theirs", what, members, **query).error == (404, "unknown_ref")
    assert limited.post("theirs", "revocation", {"missing_ok": True}, client="other").json["id"] is None
    assert harness.all("select * from evergrant.revocations") == harness.all("select * from evergrant.refresh_requests")


def test_a_removed_key_hands_out_nothing_and_opens_nothing_within_seconds(
    harness: Harness, client: int, web: Web
) -> None:
    from models import application

    harness.grant(client)
    assert web.get("customer").status == 200
    with transaction() as connection:
        application.remove(connection, "billing", who="tests")
    assert web.get("customer").error == (401, "wrong_key")
    eventually(lambda: web.ask("GET", "/v1/grants/customer").status == 401, timeout=10)
    assert timedelta(0) < applications.FRESH_FOR <= timedelta(seconds=5)


@pytest.mark.parametrize("status", ["revoking", "revoked"])
def test_a_revoked_grant_is_410(harness: Harness, client: int, web: Web, status: str) -> None:
    harness.grant(client, status=status)
    assert web.get("customer").error == (410, "revoked")
    assert web.post("customer", "rejected", {"generation": 1}).error == (410, "revoked")


def test_from_the_request_on_a_grant_is_410(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client)
    first = web.post("customer", "revocation", {"reason": "account deleted"})
    assert first.status == 202
    assert web.post("customer", "revocation").json == first.json
    assert web.get("customer").error == (410, "revoked")
    row = harness.one("select reason, requested_by from evergrant.revocations where id = :id", id=first.json["id"])
    assert row["reason"] == "account deleted"
    assert row["requested_by"].endswith("/billing")


def test_a_dead_consent_is_409_with_its_reason(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client, status="needs_consent", reason="response_lost")
    for answer in (web.get("customer", wait=10), web.post("customer", "rejected", {"generation": 1})):
        assert answer.error == (409, "needs_consent")
        assert answer.json["reason"] == "response_lost"


def test_a_dead_consent_says_where_a_key_that_may_connect_has_a_link_and_makes_none_by_itself(
    harness: Harness, client: int, web: Web, key: Callable[..., str]
) -> None:
    reader = web.with_key(key("reader", may=("read", "refresh")))
    with transaction() as connection:
        public_listener.begin(connection, "https://connect.test")
    for n, ref in enumerate(("customer", "a/b c?d=ü")):
        harness.grant(client, ref, token=str(n), status="needs_consent", reason="response_lost")
        for refused in (web.get(ref), web.post(ref, "refresh")):
            path = refused.json["connect"]
            assert "url" not in refused.json
        assert "connect" not in reader.get(ref).json
        assert harness.all("select from evergrant.tickets where ref = :ref", ref=ref) == []
        made = web.ask("POST", path).json
        assert (made["ref"], made["client"]) == (ref, "demo")
        assert made["url"].startswith("https://connect.test/connect/")


def test_a_paused_grant_hands_out_what_it_has_and_waits_for_nothing(harness: Harness, client: int, web: Web) -> None:
    grant = harness.grant(client, status="paused")
    assert web.get("customer").status == 200
    harness.set(grant, access_expires_at=datetime.now(UTC) - timedelta(seconds=1))
    answer = web.get("customer", wait=60)
    assert answer.error == (503, "paused")
    assert int(answer.headers["retry-after"]) > 0


def test_min_ttl_counts_for_at_most_a_third_of_the_life(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client, "long", life=timedelta(hours=2), access_left=timedelta(minutes=41))
    assert web.get("long", min_ttl=86400).status == 200
    harness.grant(client, "older", life=timedelta(hours=2), access_left=timedelta(minutes=39))
    assert web.get("older", min_ttl=86400).error == (503, "not_fresh_yet")
    assert web.get("older").status == 200
    harness.grant(client, "unknown", life=None, access_left=timedelta(minutes=39))
    assert web.get("unknown", min_ttl=86400).error == (503, "not_fresh_yet")


def test_a_token_that_is_too_old_is_requested_and_waited_for(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client, access_left=timedelta(seconds=5), due_in=timedelta(hours=1))
    answers: list[Answer] = []
    asking = threading.Thread(target=lambda: answers.append(web.get("customer", wait=30)))
    asking.start()
    eventually(lambda: harness.all("select * from evergrant.refresh_requests"))
    refresh_request = harness.one("select requested_by, rejected from evergrant.refresh_requests")
    assert refresh_request["requested_by"].endswith("/billing")
    assert not refresh_request["rejected"]
    harness.ask(client, token_set("2"))
    asking.join(30)
    assert (answers[0].json["access_token"], answers[0].json["generation"]) == ("at-2", 2)


def test_a_wait_that_ends_without_a_token_is_503_with_retry_after(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client, access_left=timedelta(seconds=-5))
    answer = web.get("customer", wait=0.2)
    assert answer.error == (503, "not_fresh_yet")
    assert int(answer.headers["retry-after"]) > 0


def test_a_reported_401_makes_one_refresh_of_that_generation(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client, due_in=timedelta(hours=1))
    for _ in range(3):
        answer = web.post("customer", "rejected", {"generation": 1})
        assert (answer.status, answer.json) == (202, {"generation": 2, "ref": "customer", "client": "demo"})
    assert [row["rejected"] for row in harness.all("select * from evergrant.refresh_requests")] == [True]
    harness.ask(client, token_set("2"))
    assert web.post("customer", "rejected", {"generation": 1}).json["generation"] == 2
    assert harness.all("select * from evergrant.refresh_requests") == []


def test_a_revocation_beyond_the_keys_limit_is_held_and_says_so(harness: Harness, client: int, web: Web) -> None:
    harness.run("update evergrant.clients set revocation_limit = 1")
    harness.grant(client, "a")
    harness.grant(client, "b")
    assert web.post("a", "revocation").json["held"] is False
    held = web.post("b", "revocation")
    assert (held.status, held.json["held"]) == (202, True)
    assert web.post("b", "revocation").json == held.json
    assert web.get("b").status == 200
    row = harness.one("select id, counted_as like '%/%' as by_key from evergrant.held_revocations")
    assert row == {"id": held.json["id"], "by_key": True}


def test_a_revocation_takes_an_idempotency_key_for_one_ref(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client, "a")
    harness.grant(client, "b")
    members = {"idempotency_key": "k", "erase": True}
    first = web.post("a", "revocation", members)
    assert web.post("a", "revocation", members).json == first.json
    assert first.json == {"id": first.json["id"], "ref": "a", "held": False}
    assert web.post("b", "revocation", members).error == (409, "idempotency_key")
    assert web.post("nobody", "revocation").error == (404, "unknown_ref")
    assert web.post("nobody", "revocation", {"missing_ok": True}).json == {"id": None, "ref": "nobody", "held": False}


@pytest.mark.parametrize(
    "query",
    ["min_ttl=x", "min_ttl=-1", "min_ttl=nan", "wait=61", "wait=inf", "min_tll=5", "client=a&client=b", "client="],
)
def test_a_parameter_that_cannot_be_used_is_400(harness: Harness, client: int, web: Web, query: str) -> None:
    harness.grant(client)
    assert web.ask("GET", f"/v1/grants/customer/token?{query}").error == (400, "bad_parameter")


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("rejected", b""),
        ("rejected", b'{"generation": "1"}'),
        ("rejected", b'{"generation": true}'),
        ("rejected", b'{"generation": 1e3}'),
        ("rejected", b'{"generation": 9223372036854775808}'),
        ("refresh", b"[]"),
        ("rejected", b"{}"),
        ("refresh", b'{"generation": 1}'),
        ("refresh", b"\xff"),
        ("refresh", b"[" * 16000),
        ("revocation", b'{"reason": 7}'),
        ("revocation", b'{"reason": "a\\u0000b"}'),
        ("revocation", b'{"reason": "\\ud800"}'),
        ("revocation", b'{"erase": "yes"}'),
    ],
)
def test_a_body_that_cannot_be_used_is_400(harness: Harness, client: int, web: Web, what: str, body: bytes) -> None:
    harness.grant(client)
    assert web.ask("POST", f"/v1/grants/customer/{what}", body=body).error == (400, "bad_parameter")


def test_every_other_error_is_a_json_object_too(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client)
    assert web.ask("GET", "/").error == (404, "unknown_path")
    wrong = web.ask("DELETE", "/v1/grants/customer/token")
    assert wrong.error == (405, "wrong_method")
    assert wrong.headers["allow"] == "GET"
    assert web.post("customer", "refresh", {"x": "y" * 20_000}).error == (413, "too_large")


def test_a_packed_body_is_not_unpacked(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client)
    headers = {"Content-Encoding": "gzip"}
    packed = gzip.compress(json.dumps({"reason": "x" * 5_000_000}).encode())
    for body in (packed[:16_000], b"not packed"):
        answer = web.ask("POST", "/v1/grants/customer/revocation", body=body, headers=headers)
        assert answer.error == (400, "bad_parameter")


def test_what_is_no_http_is_told_in_a_line_without_what_was_sent(
    harness: Harness, client: int, web: Web, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with socket.create_connection((urlsplit(web.url).hostname, urlsplit(web.url).port)) as door:
        door.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Key : egk_hush\r\n\r\n")
        assert door.recv(4096).startswith(b"HTTP/1.0 400")
    (line,) = [record for record in caplog.records if "unreadable" in record.getMessage()]
    assert line.levelname == "INFO"
    assert "egk_hush" not in caplog.text
    assert web.ops("/healthz").status == 200


def test_a_key_that_the_ring_lacks_is_503_and_named(harness: Harness, client: int, web: Web) -> None:
    grant = harness.grant(client)
    sealed = harness.row(grant)["sealed_access_token"]
    harness.set(grant, sealed_access_token=sealed.replace(b"\x02a1", b"\x02a9"))
    answer = web.get("customer")
    assert answer.error == (503, "keys")
    assert "'a9'" in answer.json["message"]
    assert int(answer.headers["retry-after"]) > 0


def test_nothing_is_handed_out_from_a_copied_database(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client)
    harness.run("update evergrant.installation set database_name = 'another'")
    assert web.get("customer").error == (503, "database_unfit")
    harness.run("update evergrant.installation set database_name = current_database(), environment = 'staging'")
    assert web.get("customer").error == (503, "database_unfit")


def test_labels_make_headers_and_one_of_several_must_be_chosen(harness: Harness, web: Web) -> None:
    client = harness.client(headers={"X-API-ORG": "{org}"})
    harness.grant(client, "one", labels={"org": ["8f2"]})
    harness.grant(client, "none")
    harness.grant(client, "two", labels={"org": ["8f2", "9a1"], "team": ["x"]})
    assert web.get("one").json["headers"] == {"X-API-ORG": "8f2"}
    assert web.get("none").json["headers"] == {}
    assert web.get("two", org="9a1").json["headers"] == {"X-API-ORG": "9a1"}
    for query in ({}, {"org": "other"}):
        answer = web.get("two", **query)
        assert answer.error == (400, "label_not_chosen")
        assert (answer.json["label"], answer.json["values"]) == ("org", ["8f2", "9a1"])
    assert web.get("none", org="8f2").json["values"] == []
    assert web.get("two", team="x").error == (400, "bad_parameter")


def test_labels_that_an_operator_sets_are_seen_at_once(harness: Harness, web: Web) -> None:
    client = harness.client(headers={"X-API-ORG": "{org}"})
    grant = harness.grant(client)
    with transaction() as connection:
        operator_actions.set_grant(connection, grant, labels={"org": ["a"]}, keep=None, who="tests")
    assert web.get("customer").json["headers"] == {"X-API-ORG": "a"}


def test_a_provider_file_that_is_gone_is_503(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client)
    harness.run("update evergrant.clients set provider = 'gone'")
    assert web.get("customer").error == (503, "provider_file")


def test_a_role_without_rights_is_told_so_and_no_more(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client)
    with transaction() as connection:
        connection.execute(text("alter view evergrant.access_tokens rename to hidden"))
    try:
        answer: Any = web.get("customer")
        assert answer.error == (503, "schema_behind")
        assert "hidden" not in answer.body.decode()
    finally:
        with transaction() as connection:
            connection.execute(text("alter view evergrant.hidden rename to access_tokens"))


@pytest.mark.parametrize(("left", "status"), [(timedelta(minutes=30), 200), (timedelta(0), 503)])
def test_a_grant_on_demand_that_is_read_is_requested(
    harness: Harness, client: int, web: Web, left: timedelta, status: int
) -> None:
    harness.grant(client, "asleep", due_in=timedelta(days=7), access_left=left, keep="on-demand")
    assert web.get("asleep", wait=0).status == status
    assert len(harness.claim(client).requested) == 1
