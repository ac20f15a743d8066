"""The SQL surface: what any application may call, in its own transaction, in any language."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from models.database import engine, transaction
from models.views import access_token
from tests.harness import Harness, token_set


@pytest.fixture
def client(harness: Harness) -> int:
    return harness.client()


@pytest.fixture
def application(harness: Harness) -> Iterator[Connection]:
    """A connection of some application, in a transaction of its own."""
    with engine().connect() as connection, connection.begin() as own:
        yield connection
        if own.is_active:
            own.rollback()


def call(connection: Connection, function: str, **arguments: Any) -> Any:
    named = ", ".join(f"{name} => :{name}" for name in arguments)
    return connection.execute(text(f"select evergrant.{function}({named})"), arguments).scalar()


def revocations(harness: Harness) -> int:
    return len(harness.all("select id from evergrant.revocations"))


def failure(harness: Harness, function: str, **arguments: Any) -> tuple[str, str]:
    """SQLSTATE and message of a call that is refused."""
    with pytest.raises(DBAPIError) as caught, transaction() as connection:
        call(connection, function, **arguments)
    original = caught.value.orig
    assert isinstance(original, psycopg.Error)
    return original.sqlstate or "", original.diag.message_primary or ""


@pytest.mark.parametrize("function", ["request_refresh", "request_revocation"])
def test_an_unknown_ref_is_p0002_and_named(harness: Harness, client: int, function: str) -> None:
    state, message = failure(harness, function, ref="nobody")
    assert state == "P0002"
    assert "nobody" in message


@pytest.mark.parametrize("function", ["request_refresh", "request_revocation"])
def test_an_ambiguous_ref_is_p0003_and_named_and_the_client_resolves_it(
    harness: Harness, client: int, function: str
) -> None:
    other = harness.client("other")
    harness.grant(client)
    harness.grant(other)
    state, message = failure(harness, function, ref="customer")
    assert state == "P0003"
    assert "customer" in message
    with transaction() as connection:
        assert call(connection, function, ref="customer", client="other") is not None
    assert harness.claim(client).requested == harness.claim(client).revocations == []
    claimed = harness.claim(other)
    assert claimed.count == 1


def test_missing_ok_makes_an_unknown_ref_null_and_an_ambiguous_one_still_an_error(
    harness: Harness, client: int
) -> None:
    with transaction() as connection:
        assert call(connection, "request_revocation", ref="nobody", missing_ok=True) is None
    harness.grant(client)
    harness.grant(harness.client("other"))
    assert failure(harness, "request_revocation", ref="customer", missing_ok=True)[0] == "P0003"


def test_texts_of_the_greatest_length_are_taken(harness: Harness, client: int) -> None:
    harness.grant(client, "r" * 255)
    with transaction() as connection:
        assert call(connection, "request_refresh", ref="r" * 255) == 2
        made = call(connection, "request_revocation", ref="r" * 255, reason="ß" * 1000, idempotency_key="k" * 1000)
    assert harness.one("select id, length(reason) as reason from evergrant.revocations") == {"id": made, "reason": 1000}


def test_a_request_takes_part_in_the_callers_transaction(
    harness: Harness, client: int, application: Connection
) -> None:
    grant = harness.grant(client)
    call(application, "request_revocation", ref="customer")
    assert revocations(harness) == 0
    assert len(harness.start(harness.claim(client).due)) == 1
    application.get_transaction().commit()  # type: ignore[union-attr]
    assert revocations(harness) == 1
    assert harness.one("select status, sealed_access_token from evergrant.access_tokens") == {
        "status": "revoking",
        "sealed_access_token": None,
    }
    assert harness.row(grant)["status"] == "active"


def test_a_request_that_is_rolled_back_never_was(harness: Harness, client: int, application: Connection) -> None:
    harness.grant(client)
    call(application, "request_revocation", ref="customer")
    call(application, "request_refresh", ref="customer")
    application.get_transaction().rollback()  # type: ignore[union-attr]
    assert revocations(harness) == 0
    assert len(harness.claim(client).due) == 1


def test_an_open_transaction_of_a_caller_blocks_neither_claim_start_settle_nor_a_new_refresh(
    harness: Harness, client: int, application: Connection
) -> None:
    """It holds a key share of the grant, for the foreign key: FOR UPDATE anywhere in the path would wait for it."""
    grant = harness.grant(client)
    call(application, "request_refresh", ref="customer")
    call(application, "request_revocation", ref="customer")
    harness.runtime.giving_up.set()  # a settle that is blocked fails, instead of being tried for ever
    harness.ask(client, token_set("2"))
    harness.until_due(grant)
    frozen = harness.begin(client)
    harness.until_due(grant)
    harness.ask(client, token_set("3"))
    harness.settle((frozen, token_set("late")))
    assert (harness.token(grant), harness.row(grant)["generation"]) == ("rt-3", 3)
    assert "rt-late" in harness.formers(grant)


@pytest.mark.parametrize("reported", [{}, {"if_generation": 1}])
def test_an_open_transaction_of_a_caller_holds_up_no_other_that_asks_for_the_same(
    harness: Harness, client: int, application: Connection, reported: dict[str, int]
) -> None:
    grant = harness.grant(client, due_in=timedelta(hours=1))
    assert call(application, "request_refresh", ref="customer", **reported) == 2
    with transaction() as another:
        another.execute(text("set local lock_timeout = '1s'"))
        assert call(another, "request_refresh", ref="customer", **reported) == 2
    assert harness.claim(client).requested == [(grant, 1)]
    application.get_transaction().commit()  # type: ignore[union-attr]
    harness.later(minutes=2)
    claimed = harness.claim(client)
    (attempt,) = harness.start([*claimed.due, *claimed.requested])
    harness.settle((attempt, token_set("2")))
    harness.later(minutes=2)
    assert harness.claim(client).count == 0
    assert harness.all("select id from evergrant.refresh_requests") == []


def test_a_hundred_refresh_requests_of_one_transaction_are_one(
    harness: Harness, client: int, application: Connection
) -> None:
    harness.grant(client)
    for _ in range(100):
        call(application, "request_refresh", ref="customer")
    assert application.execute(text("select count(*) from evergrant.refresh_requests")).scalar() == 1


def test_requests_only_insert(harness: Harness, client: int, application: Connection) -> None:
    grant = harness.grant(client)
    before = harness.row(grant)
    call(application, "request_revocation", ref="customer", erase=True)
    call(application, "request_refresh", ref="customer")
    assert application.execute(text("select * from evergrant.grants")).mappings().one() == before


def test_an_erasure_is_kept_with_the_revocation(harness: Harness, client: int) -> None:
    harness.grant(client)
    with transaction() as connection:
        call(connection, "request_revocation", ref="customer", erase=True)
    assert harness.one("select erased_at from evergrant.erasures")["erased_at"] is None


def test_an_idempotency_key_that_was_rolled_back_is_free_again(
    harness: Harness, client: int, application: Connection
) -> None:
    harness.grant(client)
    harness.grant(client, "other")
    call(application, "request_revocation", ref="customer", idempotency_key="k")
    application.get_transaction().rollback()  # type: ignore[union-attr]
    with transaction() as connection:
        made = call(connection, "request_revocation", ref="other", idempotency_key="k")
    assert harness.one("select id, ref from evergrant.revocations") == {"id": made, "ref": "other"}


def test_it_is_recorded_who_asked(harness: Harness, client: int, application: Connection) -> None:
    harness.grant(client)
    with transaction() as connection:
        call(connection, "request_refresh", ref="customer")
        call(connection, "request_revocation", ref="customer")
    for table in ("refresh_requests", "revocations"):
        found = harness.one(f"select requested_by = session_user as mine from evergrant.{table}")  # noqa: S608
        assert found["mine"], table


def test_no_refresh_is_asked_for_while_the_token_set_is_young(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    for life, age, wanted in ((7200, 59, 1), (7200, 61, 2), (40, 9, 1), (40, 11, 2)):
        harness.run("delete from evergrant.refresh_requests")
        harness.run(
            "update evergrant.grants set life = make_interval(secs => :life), "
            "refreshed_at = clock_timestamp() - make_interval(secs => :age) where id = :id",
            life=life,
            age=age,
            id=grant,
        )
        with transaction() as connection:
            assert call(connection, "request_refresh", ref="customer") == wanted, (life, age)
        assert len(harness.all("select id from evergrant.refresh_requests")) == wanted - 1


def test_the_second_request_for_a_revocation_gives_the_first_ones_id(harness: Harness, client: int) -> None:
    harness.grant(client)
    with transaction() as connection:
        first = call(connection, "request_revocation", ref="customer", reason="left")
    with transaction() as connection:
        assert call(connection, "request_revocation", ref="customer", reason="again") == first
        assert call(connection, "request_revocation", ref="customer", idempotency_key="k") == first
    assert harness.one("select reason from evergrant.revocations")["reason"] == "left"


def test_a_revoked_grant_gives_its_ended_revocations_id(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    with transaction() as connection:
        first = call(connection, "request_revocation", ref="customer")
    harness.run("update evergrant.revocations set status = 'done'")
    harness.set(grant, status="revoked")
    with transaction() as connection:
        assert call(connection, "request_revocation", ref="customer") == first


def test_an_idempotency_key_that_is_repeated_after_a_new_consent_spares_the_new_grant(
    harness: Harness, client: int
) -> None:
    old = harness.grant(client)
    with transaction() as connection:
        first = call(connection, "request_revocation", ref="customer", idempotency_key="deleted-42")
    harness.set(old, status="revoked")
    harness.grant(client, token="new")
    with transaction() as connection:
        assert call(connection, "request_revocation", ref="customer", idempotency_key="deleted-42") == first
    assert revocations(harness) == 1
    with transaction() as connection:
        assert call(connection, "request_revocation", ref="customer", idempotency_key="deleted-43") != first


def test_an_idempotency_key_of_another_ref_is_refused_and_not_taken_for_this_one(harness: Harness, client: int) -> None:
    """Else the caller would believe that this grant is on its way to the end."""
    harness.grant(client)
    harness.grant(client, "other")
    with transaction() as connection:
        call(connection, "request_revocation", ref="other", idempotency_key="k")
    state, message = failure(harness, "request_revocation", ref="customer", idempotency_key="k")
    assert state == "22023"
    assert "other" in message


def test_a_ref_whose_grant_ended_and_came_again_means_the_new_one(harness: Harness, client: int) -> None:
    old = harness.grant(client)
    harness.set(old, status="revoked")
    new = harness.grant(client, token="new", generation=7)
    with transaction() as connection:
        assert call(connection, "request_refresh", ref="customer") == 8
    assert [grant for grant, _ in harness.claim(client).requested] == [new]


@pytest.mark.parametrize(
    ("change", "out"),
    [
        ({}, True),
        ({"status": "paused"}, True),
        ({"status": "needs_consent"}, False),
        ({"status": "revoking"}, False),
        ({"status": "revoked"}, False),
        ({"access_expires_at": None}, False),
        ({"sealed_access_token": None}, False),
    ],
)
def test_the_view_holds_a_token_only_where_it_may_be_handed_out(
    harness: Harness, client: int, change: dict[str, Any], *, out: bool
) -> None:
    grant = harness.grant(client)
    if change:
        harness.set(grant, **change)
    assert (harness.one("select * from evergrant.access_tokens")["sealed_access_token"] is not None) == out


def test_the_view_has_the_columns_that_were_promised(harness: Harness, client: int) -> None:
    """Others select them by name: columns are only ever added."""
    harness.grant(client)
    promised = "grant_id, ref, client, labels, generation, access_expires_at, status, sealed_access_token, reason, life"
    assert list(harness.one("select * from evergrant.access_tokens"))[:10] == promised.split(", ")


def test_the_view_tells_why_a_grant_needs_its_users_consent(harness: Harness, client: int) -> None:
    harness.set(harness.grant(client), status="needs_consent", reason="response_lost")
    assert harness.one("select reason from evergrant.access_tokens")["reason"] == "response_lost"


def test_the_view_hands_out_no_token_that_has_ended(harness: Harness, client: int) -> None:
    harness.grant(client, access_left=timedelta(seconds=1))
    assert harness.one("select * from evergrant.access_tokens")["sealed_access_token"] is not None
    harness.later(seconds=2)
    assert harness.one("select * from evergrant.access_tokens")["sealed_access_token"] is None


def test_the_view_shows_generation_and_seal_that_open_to_the_token(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    harness.ask(client, token_set("2"))
    row = harness.one("select * from evergrant.access_tokens")
    assert (row["grant_id"], row["ref"], row["client"], row["generation"]) == (grant, "customer", "demo", 2)
    opened = harness.runtime.vault.open(row["sealed_access_token"], table="grants", row_id=grant, purpose="access")
    assert opened == "at-2"


@pytest.mark.parametrize(
    "query",
    [
        str(access_token.BY_REF)
        .replace(":refs", "'{customer}'")
        .replace(":clients", "'{null}'")
        .replace(":keys", "'{abc}'")
        .replace(":environment", "null"),
        "select * from evergrant.access_tokens where ref = 'customer'",
        "select t.* from evergrant.access_tokens t join unnest('{customer}'::text[]) as q (ref) using (ref)",
    ],
)
def test_a_token_is_found_by_its_ref_and_no_other_grant_is_read(harness: Harness, client: int, query: str) -> None:
    harness.grants(client, 3)
    with transaction() as connection:
        connection.exec_driver_sql("set local enable_seqscan = off")
        plan = "\n".join(connection.exec_driver_sql(f"explain (costs off) {query}").scalars())
    assert "ix_grants_ref" in plan
    assert "Seq Scan on grants" not in plan
    assert "Subquery Scan on t" not in plan, plan


def test_nobody_may_call_the_functions_or_read_the_tables_unless_told(harness: Harness, client: int) -> None:
    harness.grant(client)
    harness.run("drop role if exists stranger; create role stranger")
    try:
        for statement in (
            "select evergrant.request_refresh('customer')",
            "select evergrant.request_revocation('customer')",
            "select * from evergrant.access_tokens",
            "select * from evergrant.grants",
        ):
            with pytest.raises(DBAPIError) as caught:
                harness.run(f"set local role stranger; {statement}")
            assert isinstance(caught.value.orig, psycopg.errors.InsufficientPrivilege)
    finally:
        harness.run("drop role stranger")


def test_who_may_call_the_functions_needs_no_right_to_the_tables(harness: Harness, client: int) -> None:
    harness.grant(client)
    harness.run(
        """drop role if exists requester; create role requester; grant usage on schema evergrant to requester;
        grant execute on function evergrant.request_refresh, evergrant.request_revocation to requester"""
    )
    try:
        with transaction() as connection:
            connection.exec_driver_sql("set local role requester")
            assert call(connection, "request_refresh", ref="customer") == 2
            assert call(connection, "request_revocation", ref="customer") is not None
    finally:
        harness.run("drop owned by requester; drop role requester")


def test_a_hostile_search_path_changes_nothing(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    with transaction() as connection:
        connection.exec_driver_sql("create temp table grants (id uuid); create temp table revocations (id bigint)")
        connection.exec_driver_sql("set local search_path = pg_temp, evergrant, public")
        call(connection, "request_revocation", ref="customer")
    assert harness.one("select grant_id from evergrant.revocations")["grant_id"] == grant


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_requests_work_at_every_isolation_level(harness: Harness, client: int, level: Any) -> None:
    harness.grant(client)
    with engine().connect().execution_options(isolation_level=level) as connection, connection.begin():
        first = call(connection, "request_revocation", ref="customer")
        assert call(connection, "request_revocation", ref="customer") == first
        assert call(connection, "request_refresh", ref="customer") == 2
