"""What a key may do, for whose grants, and how long: over real HTTP."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from models import application, public_listener
from models.database import transaction
from models.states.application import Right
from tests.harness import Harness
from tests.integration.web.asking import Answer, Web
from tests.polling import eventually
from worker.web import openapi

Key = Callable[..., str]

# What each right opens: the path's last word, and a body.
DOORS: dict[str, tuple[str, dict[str, Any] | None]] = {
    "read": ("token", None),
    "refresh": ("refresh", {}),
    "report": ("rejected", {"generation": 1}),
    "connect": ("connect", {}),
    "revoke": ("revocation", {}),
    "erase": ("revocation", {"erase": True}),
}
NEEDED = {"read": {"read"}, "refresh": {"refresh"}, "report": {"refresh"}, "revoke": {"revoke"}, "connect": {"connect"}}
NEEDED["erase"] = {"revoke", "erase"}


@pytest.fixture
def client(harness: Harness) -> int:
    return harness.client()


def tried(web: Web, ref: str) -> dict[str, Answer]:
    """Every door, the one that ends the grant last."""
    return {name: web.get(ref) if body is None else web.post(ref, path, body) for name, (path, body) in DOORS.items()}


@pytest.mark.parametrize("rights", ["read", "refresh", "revoke", "read,refresh", "revoke,erase", "connect"])
def test_a_key_does_what_it_may_and_is_told_what_it_may_not(
    harness: Harness, client: int, web: Web, key: Key, rights: str
) -> None:
    may = set(rights.split(","))
    harness.grant(client)
    with transaction() as connection:
        public_listener.begin(connection, "https://connect.test")
    answers = tried(web.with_key(key("limited", may=may)), "customer")
    for name, answer in answers.items():
        lacking = [right for right in map(str, Right) if right in NEEDED[name] - may]
        if not lacking:
            assert answer.status in (200, 201, 202), name
            continue
        assert answer.error == (403, "not_allowed"), name
        assert answer.json["right"] == lacking[0]
        assert lacking[0] in answer.json["message"]
        assert "evergrant apps add" in answer.json["next"]
    assert len(harness.all("select * from evergrant.revocations")) == ("revoke" in may)
    assert len(harness.all("select * from evergrant.erasures")) == ("erase" in may)


def test_a_key_that_may_not_is_not_told_whether_there_is_such_a_grant(
    harness: Harness, client: int, web: Web, key: Key
) -> None:
    harness.grant(client)
    limited = web.with_key(key("limited", may={"read"}))
    answers = [limited.post(ref, "revocation", {"missing_ok": True}) for ref in ("customer", "nobody")]
    assert answers[0].json == answers[1].json
    assert {each.status for each in answers} == {403}


def test_a_key_of_several_clients_sees_their_grants_and_no_others(
    harness: Harness, client: int, web: Web, key: Key
) -> None:
    second, third = harness.client("second"), harness.client("third")
    for owner, refs in ((client, ("a", "both", "all")), (second, ("b", "both", "all")), (third, ("c", "all"))):
        for ref in refs:
            harness.grant(owner, ref)
    limited = web.with_key(key("limited", clients=("demo", "second")))
    assert [limited.get(ref).json["client"] for ref in ("a", "b")] == ["demo", "second"]
    for query in ({}, {"client": "third"}):
        assert limited.get("c", **query).error == (404, "unknown_ref")
        for what, members in (("refresh", {}), ("rejected", {"generation": 1}), ("revocation", {})):
            assert limited.post("c", what, members, **query).error == (404, "unknown_ref")
    assert limited.post("c", "revocation", {"missing_ok": True}).json["id"] is None
    for ref in ("both", "all"):
        for answer in (limited.get(ref), limited.post(ref, "revocation", {})):
            assert answer.error == (400, "ambiguous_ref")
            assert answer.json["clients"] == ["demo", "second"]
    assert limited.get("all", client="second").json["client"] == "second"
    assert limited.post("b", "revocation", {}).status == 202
    assert limited.post("all", "revocation", {}, client="demo").status == 202
    ended = harness.all(
        "select c.name, r.ref from evergrant.revocations r join evergrant.clients c on c.id = r.client_id"
    )
    assert {(row["name"], row["ref"]) for row in ended} == {("second", "b"), ("demo", "all")}


def test_a_key_that_has_ended_is_refused_by_a_code_of_its_own(
    harness: Harness, client: int, web: Web, key: Key
) -> None:
    harness.grant(client)
    ended, opens = key("ended", expires_in=timedelta(days=1)), key("opens", expires_in=timedelta(days=1))
    harness.run(
        "update evergrant.application_keys set expires_at = clock_timestamp() - interval '1 s'"
        " where application_id = (select id from evergrant.applications where name = 'ended')"
    )
    answer = web.with_key(ended).get("customer")
    assert answer.error == (401, "expired_key")
    assert "evergrant apps rotate ended" in answer.json["next"]
    assert answer.headers["www-authenticate"].startswith('Bearer realm="evergrant", error="invalid_token"')
    assert web.with_key(opens).get("customer").status == 200


def test_a_key_ends_at_its_instant_and_not_with_the_next_look_at_the_database(
    harness: Harness, client: int, web: Web, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worker.web import applications

    monkeypatch.setattr(applications, "FRESH_FOR", timedelta(hours=1))
    harness.grant(client)
    limited = web.with_key(key("short", expires_in=timedelta(seconds=3)))
    assert limited.get("customer").status == 200
    eventually(lambda: limited.get("customer").status == 401, timeout=20)


def test_two_keys_open_while_one_takes_over_from_the_other(harness: Harness, client: int, web: Web, key: Key) -> None:
    harness.grant(client)
    before, after = key("turning", may={"read"}), application.new_key()
    assert web.with_key(before).get("customer").status == 200
    with transaction() as connection:
        application.rotate(connection, "turning", key=after, overlap=timedelta(hours=1), expires_in=None, who="tests")
    eventually(lambda: web.with_key(after).get("customer").status == 200, timeout=10)
    assert web.with_key(before).get("customer").status == 200
    for each in (before, after):
        assert web.with_key(each).post("customer", "refresh", {}).error == (403, "not_allowed")
    with transaction() as connection:
        application.rotate(
            connection, "turning", key=application.new_key(), overlap=timedelta(0), expires_in=None, who="tests"
        )
    eventually(lambda: web.with_key(after).get("customer").status == 401, timeout=10)
    assert [web.with_key(each).get("customer").error for each in (before, after)] == [(401, "expired_key")] * 2


def test_every_use_is_dated_once_a_minute_and_not_by_who_reads(
    harness: Harness, client: int, web: Web, key: Key
) -> None:
    harness.grant(client)
    used = web.with_key(key("used"))
    unused = key("unused")
    for _ in range(20):
        assert used.get("customer").status == 200

    def at() -> dict[str, Any]:
        rows = harness.all(
            "select a.name, k.used_at, k.xmin::text from evergrant.application_keys k"
            " join evergrant.applications a on a.id = k.application_id"
        )
        return {row["name"]: (row["used_at"], row["xmin"]) for row in rows}

    assert unused
    eventually(lambda: at()["used"][0] is not None, timeout=10)
    written = at()
    assert written["unused"][0] is None
    for _ in range(20):
        assert used.get("customer").status == 200
    assert at() == written
    with transaction() as connection:  # nor by another web process
        ids = [row["id"] for row in harness.all("select id from evergrant.application_keys")]
        from models import application_key

        application_key.note_used(connection, ids)
    assert at()["used"] == written["used"]


def test_a_database_that_takes_no_writes_hands_out_tokens_all_the_same(
    harness: Harness, client: int, web: Web, key: Key, lock_keys: Callable[[], None]
) -> None:
    harness.grant(client)
    fresh = web.with_key(key("fresh"))
    lock_keys()
    assert fresh.get("customer").status == 200


@pytest.fixture
def lock_keys(harness: Harness) -> Iterator[Callable[[], None]]:
    """Hold a lock on every key until the end of the test."""
    from models.database import engine

    with engine().connect() as connection:

        def lock() -> None:
            from sqlalchemy import text

            connection.execute(text("select * from evergrant.application_keys for update"))

        yield lock
        connection.rollback()


def test_an_application_that_the_release_before_added_may_all_that_it_could(
    harness: Harness, client: int, web: Web
) -> None:
    harness.grant(client)
    made = application.new_key()
    with transaction() as connection:
        from sqlalchemy import text

        connection.execute(
            text("insert into evergrant.applications (name, key_hash, created_by) values ('old', :hash, 'tests')"),
            {"hash": application.hashed(made)},
        )
    answers = tried(web.with_key(made), "customer")
    assert {name: each.status for name, each in answers.items() if name != "connect"} == {
        "read": 200,
        "refresh": 202,
        "report": 202,
        "revoke": 202,
        "erase": 202,
    }
    assert answers["connect"].json["right"] == "connect"  # that came later, so it is in no key of before
    with transaction() as connection:
        (old,) = [row for row in application.listed(connection) if row["name"] == "old"]
        assert (old["may"], old["keys"], old["state"]) == (None, 1, "opens")


BY_THE_RELEASE_BEFORE = """
    select a.key_hash, c.name as client from evergrant.applications a
    left join evergrant.clients c on c.id = a.client_id where a.name = :name
"""


@pytest.mark.parametrize(
    ("more", "opens"),
    [
        ({}, True),
        ({"client": "demo"}, True),
        ({"may": tuple(map(str, Right)), "client": "demo"}, True),
        ({"may": ("read",)}, False),
        ({"expires_in": timedelta(days=1)}, False),
        ({"clients": ("demo", "other")}, False),
    ],
    ids=str,
)
def test_the_release_before_opens_with_a_key_what_it_may_or_nothing(
    harness: Harness, client: int, key: Key, more: dict[str, Any], opens: bool
) -> None:
    harness.client("other")
    made = key("limited", **more)
    row = harness.one(BY_THE_RELEASE_BEFORE, name="limited")
    assert (row["key_hash"] == application.hashed(made)) is opens
    assert row["client"] == more.get("client")
    with transaction() as connection:
        after = application.new_key()
        application.rotate(connection, "limited", key=after, overlap=timedelta(0), expires_in=None, who="tests")
    row = harness.one(BY_THE_RELEASE_BEFORE, name="limited")
    assert (row["key_hash"] == application.hashed(after)) is opens
    assert row["key_hash"] != application.hashed(made)


def test_the_document_says_what_each_route_needs_as_the_routes_do() -> None:
    needed = {
        operation["operationId"]: operation["security"]
        for methods in openapi.document()["paths"].values()
        for operation in methods.values()
    }
    assert needed == {
        "token": [{"application_key": ["read"]}],
        "explain": [{"application_key": ["read"]}],
        "rejected": [{"application_key": ["refresh"]}],
        "refresh": [{"application_key": ["refresh"]}],
        "revocation": [{"application_key": ["revoke"]}],
        "connect": [{"application_key": ["connect"]}],
        "notice": [],
        "removal": [],
        "openapi": [],
    }
