"""The SQL surface: what any application may call, in its own transaction, in any language."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from models import handout
from models.database import engine, transaction
from tests.harness import Heart, token_set


@pytest.fixture
def client(heart: Heart) -> int:
    return heart.client()


@pytest.fixture
def application(heart: Heart) -> Iterator[Connection]:
    """A connection of some application, in a transaction of its own."""
    with engine().connect() as connection, connection.begin() as own:
        yield connection
        if own.is_active:
            own.rollback()


def call(connection: Connection, function: str, **arguments: Any) -> Any:
    named = ", ".join(f"{name} => :{name}" for name in arguments)
    return connection.execute(text(f"select evergrant.{function}({named})"), arguments).scalar()


def revocations(heart: Heart) -> int:
    return len(heart.all("select id from evergrant.revocations"))


def failure(heart: Heart, function: str, **arguments: Any) -> tuple[str, str]:
    """SQLSTATE and message of a call that is refused."""
    with pytest.raises(DBAPIError) as caught, transaction() as connection:
        call(connection, function, **arguments)
    original = caught.value.orig
    assert isinstance(original, psycopg.Error)
    return original.sqlstate or "", original.diag.message_primary or ""


@pytest.mark.parametrize("function", ["request_refresh", "request_revocation"])
def test_an_unknown_ref_is_p0002_and_named(heart: Heart, client: int, function: str) -> None:
    state, message = failure(heart, function, ref="nobody")
    assert state == "P0002"
    assert "nobody" in message


@pytest.mark.parametrize("function", ["request_refresh", "request_revocation"])
def test_an_ambiguous_ref_is_p0003_and_named_and_the_client_resolves_it(
    heart: Heart, client: int, function: str
) -> None:
    other = heart.client("other")
    heart.grant(client)
    heart.grant(other)
    state, message = failure(heart, function, ref="customer")
    assert state == "P0003"
    assert "customer" in message
    with transaction() as connection:
        assert call(connection, function, ref="customer", client="other") is not None
    assert heart.claim(client).wished == heart.claim(client).revocations == []
    claimed = heart.claim(other)
    assert claimed.count == 1


def test_missing_ok_makes_an_unknown_ref_null_and_an_ambiguous_one_still_an_error(heart: Heart, client: int) -> None:
    with transaction() as connection:
        assert call(connection, "request_revocation", ref="nobody", missing_ok=True) is None
    heart.grant(client)
    heart.grant(heart.client("other"))
    assert failure(heart, "request_revocation", ref="customer", missing_ok=True)[0] == "P0003"


def test_a_request_takes_part_in_the_callers_transaction(heart: Heart, client: int, application: Connection) -> None:
    grant = heart.grant(client)
    call(application, "request_revocation", ref="customer")
    assert revocations(heart) == 0
    assert len(heart.start(heart.claim(client).due)) == 1
    application.get_transaction().commit()  # type: ignore[union-attr]
    assert revocations(heart) == 1
    assert heart.one("select status, sealed_access_token from evergrant.access_tokens") == {
        "status": "revoking",
        "sealed_access_token": None,
    }
    assert heart.row(grant)["status"] == "active"


def test_a_request_that_is_rolled_back_never_was(heart: Heart, client: int, application: Connection) -> None:
    heart.grant(client)
    call(application, "request_revocation", ref="customer")
    call(application, "request_refresh", ref="customer")
    application.get_transaction().rollback()  # type: ignore[union-attr]
    assert revocations(heart) == 0
    assert len(heart.claim(client).due) == 1


def test_an_open_transaction_of_a_caller_blocks_neither_claim_start_settle_nor_a_new_refresh(
    heart: Heart, client: int, application: Connection
) -> None:
    """It holds a key share of the grant, for the foreign key: FOR UPDATE anywhere in the path would wait for it."""
    grant = heart.grant(client)
    call(application, "request_refresh", ref="customer")
    call(application, "request_revocation", ref="customer")
    heart.place.giving_up.set()  # a settle that is blocked fails, instead of being tried for ever
    heart.ask(client, token_set("2"))
    heart.until_due(grant)
    frozen = heart.begin(client)
    heart.until_due(grant)
    heart.ask(client, token_set("3"))
    heart.settle((frozen, token_set("late")))
    assert (heart.token(grant), heart.row(grant)["generation"]) == ("rt-3", 3)
    assert "rt-late" in heart.formers(grant)


@pytest.mark.parametrize("reported", [{}, {"if_generation": 1}])
def test_an_open_transaction_of_a_caller_holds_up_no_other_that_wishes_the_same(
    heart: Heart, client: int, application: Connection, reported: dict[str, int]
) -> None:
    grant = heart.grant(client, due_in=timedelta(hours=1))
    assert call(application, "request_refresh", ref="customer", **reported) == 2
    with transaction() as another:
        another.execute(text("set local lock_timeout = '1s'"))
        assert call(another, "request_refresh", ref="customer", **reported) == 2
    assert heart.claim(client).wished == [(grant, 1)]
    application.get_transaction().commit()  # type: ignore[union-attr]
    heart.later(minutes=2)
    claimed = heart.claim(client)
    (attempt,) = heart.start([*claimed.due, *claimed.wished])
    heart.settle((attempt, token_set("2")))
    heart.later(minutes=2)
    assert heart.claim(client).count == 0
    assert heart.all("select id from evergrant.refresh_requests") == []


def test_a_hundred_wishes_of_one_transaction_are_one(heart: Heart, client: int, application: Connection) -> None:
    heart.grant(client)
    for _ in range(100):
        call(application, "request_refresh", ref="customer")
    assert application.execute(text("select count(*) from evergrant.refresh_requests")).scalar() == 1


def test_requests_only_insert(heart: Heart, client: int, application: Connection) -> None:
    grant = heart.grant(client)
    before = heart.row(grant)
    call(application, "request_revocation", ref="customer", erase=True)
    call(application, "request_refresh", ref="customer")
    assert application.execute(text("select * from evergrant.grants")).mappings().one() == before


def test_an_erasure_is_kept_with_the_revocation(heart: Heart, client: int) -> None:
    heart.grant(client)
    with transaction() as connection:
        call(connection, "request_revocation", ref="customer", erase=True)
    assert heart.one("select erased_at from evergrant.erasures")["erased_at"] is None


def test_an_idempotency_key_that_was_rolled_back_is_free_again(
    heart: Heart, client: int, application: Connection
) -> None:
    heart.grant(client)
    heart.grant(client, "other")
    call(application, "request_revocation", ref="customer", idempotency_key="k")
    application.get_transaction().rollback()  # type: ignore[union-attr]
    with transaction() as connection:
        made = call(connection, "request_revocation", ref="other", idempotency_key="k")
    assert heart.one("select id, ref from evergrant.revocations") == {"id": made, "ref": "other"}


def test_it_is_recorded_who_asked(heart: Heart, client: int, application: Connection) -> None:
    heart.grant(client)
    with transaction() as connection:
        call(connection, "request_refresh", ref="customer")
        call(connection, "request_revocation", ref="customer")
    for table in ("refresh_requests", "revocations"):
        found = heart.one(f"select requested_by = session_user as mine from evergrant.{table}")  # noqa: S608
        assert found["mine"], table


def test_no_refresh_is_asked_for_while_the_token_set_is_young(heart: Heart, client: int) -> None:
    grant = heart.grant(client)
    for life, age, wanted in ((7200, 59, 1), (7200, 61, 2), (40, 9, 1), (40, 11, 2)):
        heart.run("delete from evergrant.refresh_requests")
        heart.run(
            "update evergrant.grants set life = make_interval(secs => :life), "
            "refreshed_at = clock_timestamp() - make_interval(secs => :age) where id = :id",
            life=life,
            age=age,
            id=grant,
        )
        with transaction() as connection:
            assert call(connection, "request_refresh", ref="customer") == wanted, (life, age)
        assert len(heart.all("select id from evergrant.refresh_requests")) == wanted - 1


def test_the_second_request_for_a_revocation_gives_the_first_ones_id(heart: Heart, client: int) -> None:
    heart.grant(client)
    with transaction() as connection:
        first = call(connection, "request_revocation", ref="customer", reason="left")
    with transaction() as connection:
        assert call(connection, "request_revocation", ref="customer", reason="again") == first
        assert call(connection, "request_revocation", ref="customer", idempotency_key="k") == first
    assert heart.one("select reason from evergrant.revocations")["reason"] == "left"


def test_a_revoked_grant_gives_its_ended_revocations_id(heart: Heart, client: int) -> None:
    grant = heart.grant(client)
    with transaction() as connection:
        first = call(connection, "request_revocation", ref="customer")
    heart.run("update evergrant.revocations set status = 'done'")
    heart.set(grant, status="revoked")
    with transaction() as connection:
        assert call(connection, "request_revocation", ref="customer") == first


def test_an_idempotency_key_that_is_repeated_after_a_new_consent_spares_the_new_grant(
    heart: Heart, client: int
) -> None:
    old = heart.grant(client)
    with transaction() as connection:
        first = call(connection, "request_revocation", ref="customer", idempotency_key="deleted-42")
    heart.set(old, status="revoked")
    heart.grant(client, token="new")
    with transaction() as connection:
        assert call(connection, "request_revocation", ref="customer", idempotency_key="deleted-42") == first
    assert revocations(heart) == 1
    with transaction() as connection:
        assert call(connection, "request_revocation", ref="customer", idempotency_key="deleted-43") != first


def test_an_idempotency_key_of_another_ref_is_refused_and_not_taken_for_this_one(heart: Heart, client: int) -> None:
    """Else the caller would believe that this grant is on its way to the end."""
    heart.grant(client)
    heart.grant(client, "other")
    with transaction() as connection:
        call(connection, "request_revocation", ref="other", idempotency_key="k")
    state, message = failure(heart, "request_revocation", ref="customer", idempotency_key="k")
    assert state == "22023"
    assert "other" in message


def test_a_ref_whose_grant_ended_and_came_again_means_the_new_one(heart: Heart, client: int) -> None:
    old = heart.grant(client)
    heart.set(old, status="revoked")
    new = heart.grant(client, token="new", generation=7)
    with transaction() as connection:
        assert call(connection, "request_refresh", ref="customer") == 8
    assert [grant for grant, _ in heart.claim(client).wished] == [new]


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
    heart: Heart, client: int, change: dict[str, Any], *, out: bool
) -> None:
    grant = heart.grant(client)
    if change:
        heart.set(grant, **change)
    assert (heart.one("select * from evergrant.access_tokens")["sealed_access_token"] is not None) == out


def test_the_view_has_the_columns_that_were_promised(heart: Heart, client: int) -> None:
    """Others select them by name: columns are only ever added."""
    heart.grant(client)
    promised = "grant_id, ref, client, labels, generation, access_expires_at, status, sealed_access_token, reason, life"
    assert list(heart.one("select * from evergrant.access_tokens"))[:10] == promised.split(", ")


def test_the_view_tells_why_a_grant_needs_its_users_consent(heart: Heart, client: int) -> None:
    heart.set(heart.grant(client), status="needs_consent", reason="response_lost")
    assert heart.one("select reason from evergrant.access_tokens")["reason"] == "response_lost"


def test_the_view_hands_out_no_token_that_has_ended(heart: Heart, client: int) -> None:
    heart.grant(client, access_left=timedelta(seconds=1))
    assert heart.one("select * from evergrant.access_tokens")["sealed_access_token"] is not None
    heart.later(seconds=2)
    assert heart.one("select * from evergrant.access_tokens")["sealed_access_token"] is None


def test_the_view_shows_generation_and_seal_that_open_to_the_token(heart: Heart, client: int) -> None:
    grant = heart.grant(client)
    heart.ask(client, token_set("2"))
    row = heart.one("select * from evergrant.access_tokens")
    assert (row["grant_id"], row["ref"], row["client"], row["generation"]) == (grant, "customer", "demo", 2)
    opened = heart.place.vault.open(row["sealed_access_token"], table="grants", row_id=grant, purpose="access")
    assert opened == "at-2"


@pytest.mark.parametrize(
    "query",
    [
        str(handout.BY_REF)
        .replace(":refs", "'{customer}'")
        .replace(":clients", "'{null}'")
        .replace(":environment", "null"),
        "select * from evergrant.access_tokens where ref = 'customer'",
        "select t.* from evergrant.access_tokens t join unnest('{customer}'::text[]) as q (ref) using (ref)",
    ],
)
def test_a_token_is_found_by_its_ref_and_no_other_grant_is_read(heart: Heart, client: int, query: str) -> None:
    heart.grants(client, 3)
    with transaction() as connection:
        connection.exec_driver_sql("set local enable_seqscan = off")
        plan = "\n".join(connection.exec_driver_sql(f"explain (costs off) {query}").scalars())
    assert "ix_grants_ref" in plan
    assert "Seq Scan on grants" not in plan
    assert "Subquery Scan on t" not in plan, plan


def test_nobody_may_call_the_functions_or_read_the_tables_unless_told(heart: Heart, client: int) -> None:
    heart.grant(client)
    heart.run("drop role if exists stranger; create role stranger")
    try:
        for statement in (
            "select evergrant.request_refresh('customer')",
            "select evergrant.request_revocation('customer')",
            "select * from evergrant.access_tokens",
            "select * from evergrant.grants",
        ):
            with pytest.raises(DBAPIError) as caught:
                heart.run(f"set local role stranger; {statement}")
            assert isinstance(caught.value.orig, psycopg.errors.InsufficientPrivilege)
    finally:
        heart.run("drop role stranger")


def test_who_may_call_the_functions_needs_no_right_to_the_tables(heart: Heart, client: int) -> None:
    heart.grant(client)
    heart.run(
        """drop role if exists requester; create role requester; grant usage on schema evergrant to requester;
        grant execute on function evergrant.request_refresh, evergrant.request_revocation to requester"""
    )
    try:
        with transaction() as connection:
            connection.exec_driver_sql("set local role requester")
            assert call(connection, "request_refresh", ref="customer") == 2
            assert call(connection, "request_revocation", ref="customer") is not None
    finally:
        heart.run("drop owned by requester; drop role requester")


def test_a_hostile_search_path_changes_nothing(heart: Heart, client: int) -> None:
    grant = heart.grant(client)
    with transaction() as connection:
        connection.exec_driver_sql("create temp table grants (id uuid); create temp table revocations (id bigint)")
        connection.exec_driver_sql("set local search_path = pg_temp, evergrant, public")
        call(connection, "request_revocation", ref="customer")
    assert heart.one("select grant_id from evergrant.revocations")["grant_id"] == grant


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_requests_work_at_every_isolation_level(heart: Heart, client: int, level: Any) -> None:
    heart.grant(client)
    with engine().connect().execution_options(isolation_level=level) as connection, connection.begin():
        first = call(connection, "request_revocation", ref="customer")
        assert call(connection, "request_revocation", ref="customer") == first
        assert call(connection, "request_refresh", ref="customer") == 2
