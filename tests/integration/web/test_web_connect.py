"""Links for customers, asked for over HTTP: what they say, whose they are, and what is refused."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from models import public_listener, ticket
from models.database import transaction
from tests.harness import Harness
from tests.integration.web.asking import Answer, Web
from tests.integration.web.conftest import bound, served

Key = Callable[..., str]

PUBLIC = "https://connect.acme.example"
OURS = "https://acme.example/settings"


@pytest.fixture
def client(harness: Harness) -> int:
    """A client, and a public listener that was started once."""
    made = harness.client()
    harness.run("update evergrant.clients set return_to_urls = :urls", urls=[OURS])
    with transaction() as connection:
        public_listener.begin(connection, PUBLIC)
    return made


def asked(web: Web, ref: str = "customer-42", **members: Any) -> Answer:
    return web.post(ref, "connect", members)


def test_a_link_says_what_was_wanted_and_is_found_by_its_hash_alone(harness: Harness, client: int, web: Web) -> None:
    wanted: dict[str, Any] = {
        "labels": {"org": "8f2", "site": ["a", "b"]},
        "scopes": ["crm_read"],
        "return_to": OURS,
        "locale": "de",
    }
    answer = asked(web, **wanted)

    assert answer.status == 201
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json
    assert (told["ref"], told["client"]) == ("customer-42", "demo")
    base, made = told["url"].rsplit("/", 1)
    assert base == f"{PUBLIC}/connect"
    row = harness.one("select * from evergrant.tickets")
    assert bytes(row["ticket_hash"]) == ticket.hashed(made)
    assert (row["ref"], row["client_id"]) == ("customer-42", client)
    assert row["labels"] == {"org": ["8f2"], "site": ["a", "b"]}
    assert (row["scopes"], row["return_to"], row["locale"]) == (["crm_read"], OURS, "de")
    assert row["created_by"].endswith("/billing")
    assert not row["other_account_allowed"]
    left = datetime.fromisoformat(told["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=14) < left <= timedelta(minutes=15)


def test_no_body_is_a_link_with_nothing_said_and_none_is_told_twice(harness: Harness, client: int, web: Web) -> None:
    answers = [web.post("a/b ü", "connect") for _ in range(2)]
    assert [each.status for each in answers] == [201, 201]
    assert len({each.json["url"] for each in answers}) == 2
    assert {row["ref"] for row in harness.all("select ref from evergrant.tickets")} == {"a/b ü"}


def test_the_public_url_of_this_process_wins(harness: Harness, client: int, tmp_path: Path, key: Key) -> None:
    with served(bound(tmp_path, public_url="https://here.example/x")) as addresses:
        assert asked(Web(addresses, key())).json["url"].startswith("https://here.example/x/connect/")


def test_where_nobody_serves_it_any_longer_no_link_is_made_and_that_is_said(
    harness: Harness, client: int, web: Web
) -> None:
    harness.run("update evergrant.installation set public_url_seen_at = clock_timestamp() - interval '3 minutes'")
    answer = asked(web)
    assert answer.error == (503, "no_public_listener")
    assert PUBLIC in answer.json["message"]
    assert "EVERGRANT_PUBLIC_BIND" in answer.json["next"]
    assert int(answer.headers["retry-after"]) > 0
    assert harness.all("select from evergrant.tickets") == []


def test_without_a_public_listener_a_link_would_lead_nowhere(harness: Harness, web: Web) -> None:
    harness.client()
    answer = asked(web)
    assert answer.error == (503, "no_public_listener")
    assert int(answer.headers["retry-after"]) > 0
    assert harness.all("select from evergrant.tickets") == []


@pytest.mark.parametrize(
    ("members", "error"),
    [
        ({"return_to": "https://evil.example/"}, (400, "ticket_refused")),
        ({"return_to": OURS + "x"}, (400, "ticket_refused")),
        ({"return_to": OURS + "/" + "x" * 2000}, (400, "bad_parameter")),
        ({"return_to": 7}, (400, "bad_parameter")),
        ({"locale": "<script>"}, (400, "ticket_refused")),
        ({"scopes": ["two words"]}, (400, "ticket_refused")),
        ({"scopes": "crm_read"}, (400, "bad_parameter")),
        ({"scopes": [None]}, (400, "bad_parameter")),
        ({"scopes": ["a"] * 101}, (400, "ticket_refused")),
        ({"labels": ["org"]}, (400, "bad_parameter")),
        ({"labels": {"org": 7}}, (400, "bad_parameter")),
        ({"labels": {"org": "a\0b"}}, (400, "bad_parameter")),
        ({"labels": {"org": "\ud800"}}, (400, "bad_parameter")),
        ({"labels": {"": "x"}}, (400, "bad_parameter")),
        ({"labels": {"org": []}}, (400, "ticket_refused")),
        ({"labels": {"org": [["x"]]}}, (400, "bad_parameter")),
        ({"client": "nobody's"}, (404, "unknown_client")),
        ({"client": ["demo"]}, (400, "bad_parameter")),
        ({"allow_other_account": True}, (400, "bad_parameter")),
        ({"returnTo": OURS}, (400, "bad_parameter")),
    ],
    ids=str,
)
def test_what_makes_no_ticket_is_refused_in_a_sentence(
    harness: Harness, client: int, web: Web, members: dict[str, Any], error: tuple[int, str]
) -> None:
    assert asked(web, **members).error == error
    assert harness.all("select from evergrant.tickets") == []


def test_a_refused_address_says_how_it_is_allowed(client: int, web: Web) -> None:
    told = asked(web, return_to="https://evil.example/").json
    assert "https://evil.example/" in told["message"]
    assert "--return-to" in told["next"]


def test_a_ref_that_no_grant_can_have_is_unknown(client: int, web: Web) -> None:
    assert asked(web, "x" * 256).error == (404, "unknown_ref")
    assert asked(web, "a\0b").error == (404, "unknown_ref")
    assert asked(web, "a\nb").error == (400, "ticket_refused")


def test_the_client_is_the_one_that_has_the_ref_or_the_only_one(harness: Harness, client: int, web: Web) -> None:
    other = harness.client("other")
    harness.grant(client, "mine")
    harness.grant(client, "both")
    harness.grant(other, "both", token="both-2")
    assert asked(web, "mine").json["client"] == "demo"
    for ref in ("new", "both"):
        answer = asked(web, ref)
        assert answer.error == (400, "ambiguous_ref")
        assert answer.json["clients"] == ["demo", "other"]
        assert asked(web, ref, client="other").json["client"] == "other"
        assert web.post(ref, "connect", {}, client="other").json["client"] == "other"
    assert web.post("new", "connect", {"client": "demo"}, client="other").error == (400, "bad_parameter")


def test_a_key_of_some_clients_connects_at_those_alone(harness: Harness, client: int, web: Web, key: Key) -> None:
    harness.grant(harness.client("other"), "theirs")
    harness.client("third")
    one, several = web.with_key(key("one", client="demo")), web.with_key(key("several", clients=("demo", "third")))
    assert asked(one, "new").json["client"] == "demo"
    # A ref of another client's is none to it: it would be a new one of its own.
    assert asked(one, "theirs").json["client"] == "demo"
    for named in ("other", "nobody's"):
        assert asked(one, "theirs", client=named).error == (404, "unknown_client")
    assert asked(several, "theirs").json["clients"] == ["demo", "third"]
    assert asked(several, "theirs", client="third").json["client"] == "third"
    assert {row["ref"] for row in harness.all("select ref from evergrant.tickets")} == {"new", "theirs"}


def test_a_key_of_before_may_not_connect_and_is_told_how_one_may(
    harness: Harness, client: int, web: Web, key: Key
) -> None:
    before = web.with_key(key("before", may={"read", "refresh", "revoke", "erase"}))
    alone = web.with_key(key("alone", may={"connect"}))
    answer = asked(before)
    assert answer.error == (403, "not_allowed")
    assert answer.json["right"] == "connect"
    assert "--may read,refresh,revoke,erase,connect" in answer.json["next"]
    assert asked(alone).status == 201
    assert alone.get("customer-42").error == (403, "not_allowed")


def test_grants_of_a_client_without_users_have_no_link(harness: Harness, client: int, web: Web) -> None:
    more: dict[str, Any] = {"kind": "client_credentials", "rotation": "none", "probe": False, "revoke_token": "access"}
    harness.client("app", scope_separator=" ", **more)
    answer = asked(web, client="app")
    assert answer.error == (409, "no_user")
    assert answer.json["client"] == "app"


def test_of_a_ref_no_more_than_twenty_wait(client: int, web: Web) -> None:
    assert {asked(web).status for _ in range(20)} == {201}
    answer = asked(web)
    assert answer.error == (429, "too_many_tickets")
    assert int(answer.headers["retry-after"]) > 0
    assert asked(web, "another").status == 201


def test_an_application_that_made_six_hundred_in_a_minute_waits_and_the_others_do_not(
    harness: Harness, client: int, web: Web, key: Key
) -> None:
    other = web.with_key(key("other"))
    asked(web, "first")
    harness.run(
        """insert into evergrant.tickets (ticket_hash, client_id, ref, labels, scopes, other_account_allowed,
            created_by, counted_as, expires_at)
        select sha256(n::text::bytea), client_id, 'r' || n, '{}', '{}', false, created_by, counted_as, expires_at
        from evergrant.tickets, generate_series(1, 599) n"""
    )
    assert asked(web).error == (429, "too_many_tickets")
    assert asked(other).status == 201


def test_a_copied_database_makes_no_links(harness: Harness, client: int, web: Web) -> None:
    harness.run("update evergrant.installation set system_identifier = 'another'")
    assert asked(web).error == (503, "database_unfit")
    assert harness.all("select from evergrant.tickets") == []


def test_the_audit_tells_which_ticket_was_made_and_never_the_link(
    harness: Harness, client: int, tmp_path: Path, key: Key
) -> None:
    place = tmp_path / "audit.jsonl"
    with served(bound(tmp_path, audit_file=str(place))) as addresses:
        web = Web(addresses, key())
        made = asked(web, return_to=OURS).json["url"].rsplit("/", 1)[1]
        asked(web, "a secret", return_to="https://evil.example/")
    told, refused = (json.loads(line) for line in place.read_text(encoding="utf-8").splitlines())
    assert (told["what"], told["who"], told["outcome"]) == ("POST /v1/grants/{ref}/connect", "billing", "ok")
    assert (told["ref"], told["client"]) == ("customer-42", "demo")
    assert told["ticket"] == str(harness.one("select id from evergrant.tickets")["id"])
    assert (refused["ref"], refused["outcome"]) == ("<string 8>", "ticket_refused")
    assert made not in place.read_text(encoding="utf-8")


def test_where_the_audit_cannot_be_written_no_link_leaves(
    harness: Harness, client: int, tmp_path: Path, key: Key
) -> None:
    with served(bound(tmp_path, audit_file="/dev/full")) as addresses:
        answer = asked(Web(addresses, key()))
    assert answer.error == (503, "audit_unwritable")
    assert b"/connect/" not in answer.body
