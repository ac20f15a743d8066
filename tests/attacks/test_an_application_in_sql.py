"""A hostile application with SQL: over a real login, the worst that its role lets it do hurts its own grants alone."""

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from tests.application_logins import Logins, allowed, logins
from tests.harness import Harness, token_set
from tests.integration import conftest as integration

harness = integration.harness


@pytest.fixture
def fleet(harness: Harness) -> Harness:
    """Its own client with many grants, and another client that is none of its business."""
    mine, other = harness.client("mine"), harness.client("other")
    for n in range(12):
        harness.grant(mine, f"mine-{n}", due_in=timedelta(hours=1))
    harness.grant(other, "theirs", labels={"secret": ["of theirs"]})
    return harness


@pytest.fixture
def made(fleet: Harness) -> Iterator[Logins]:
    with logins(fleet) as found:
        yield found


@pytest.fixture
def attacker(made: Logins) -> psycopg.Connection:
    return made.application("mine")


def refused(connection: psycopg.Connection, statement: str) -> str | None:
    with pytest.raises(psycopg.Error) as caught:
        connection.execute(statement.encode())
    return caught.value.sqlstate


def test_it_touches_no_table_and_makes_nothing(attacker: psycopg.Connection) -> None:
    query = "select relname from pg_class where relnamespace = 'evergrant'::regnamespace and relkind in ('r', 'v', 'S')"
    tables = attacker.execute(query).fetchall()
    for (table,) in tables:
        if table != "own_access_tokens":
            assert not allowed(attacker, f"select from evergrant.{table}"), table
    for right in ("insert", "update", "delete"):
        query = "select has_table_privilege('evergrant.own_access_tokens', %s)"
        assert attacker.execute(query, [right]).fetchone() == (False,)
    for statement in (
        "create table evergrant.mine ()",
        "insert into evergrant.application_roles values ('x', '{1,2}', '{read}')",
        "select evergrant.find_grant('theirs', null, 'read')",
        "select evergrant.brake(1, 'somebody')",
        "select evergrant.note_read(gen_random_uuid())",
        "select evergrant.forget_events('{}')",
        "create role another",
    ):
        assert not allowed(attacker, statement), statement


@pytest.mark.parametrize("role", ["evergrant_worker", "evergrant_admin", "evergrant_reader", "the other application"])
def test_it_becomes_nobody_else(made: Logins, attacker: psycopg.Connection, role: str) -> None:
    name = made.role("other") if role == "the other application" else role
    for statement in (f"set role {name}", f"set session authorization {name}", f"grant {name} to current_user"):
        assert not allowed(attacker, statement), statement


def test_what_it_sets_to_itself_shows_it_nothing_more(attacker: psycopg.Connection) -> None:
    for statement in (
        "set evergrant.application = 'other'",
        "set search_path = pg_temp, evergrant",
        "set row_security = off",
        "create temp table application_roles as select 'x'::text as role, '{1,2}'::bigint[] as client_ids",
    ):
        attacker.execute(statement.encode())
    found = attacker.execute("select distinct client from evergrant.own_access_tokens").fetchall()
    assert found == [("mine",)]
    assert refused(attacker, "select evergrant.request_revocation('theirs')") == "P0002"


def test_a_function_of_its_own_in_a_query_is_shown_no_row_of_others(attacker: psycopg.Connection) -> None:
    """Without the barrier PostgreSQL asks what is cheapest first: of every row there is."""
    attacker.execute(
        """create function pg_temp.leak(ref text) returns boolean language plpgsql cost 0.0000001 as
        $$ begin raise notice '%', ref; return true; end $$"""
    )
    heard: list[str] = []
    attacker.add_notice_handler(lambda notice: heard.append(notice.message_primary or ""))
    attacker.execute("select ref from evergrant.own_access_tokens where pg_temp.leak(ref)").fetchall()
    assert len(heard) == 12
    assert all(each.startswith("mine-") for each in heard)


def test_an_error_that_it_provokes_tells_nothing_of_others(attacker: psycopg.Connection) -> None:
    with pytest.raises(psycopg.Error) as caught:
        attacker.execute("select from evergrant.own_access_tokens where cast(labels::text as integer) = 1").fetchall()
    assert "of theirs" not in str(caught.value)


def test_explain_tells_whoever_guesses_a_ref_that_there_is_one_but_nothing_of_labels_nor_of_what_is_sealed(
    attacker: psycopg.Connection,
) -> None:
    """What PostgreSQL can compare without telling it asks before the barrier, and EXPLAIN counts what fell behind."""

    def told(condition: str) -> list[str]:
        options = "analyze, costs off, timing off, summary off, buffers off"
        query = f"explain ({options}) select from evergrant.own_access_tokens where {condition}"
        lines = [line for (line,) in attacker.execute(query.encode()).fetchall()]
        return [line for line in lines if "(actual" in line or "Removed" in line]

    for of_a_ref, of_none in (("status = 'active'", "status = 'paused'"), ("generation = 1", "generation = 2")):
        assert told(f"ref = 'theirs' and {of_a_ref}") != told(f"ref = 'theirs' and {of_none}")
    assert told("ref = 'theirs'") != told("ref = 'nobody'")
    for right, wrong in (
        ('labels = \'{"secret": ["of theirs"]}\'', "labels = '{}'"),
        ('labels @> \'{"secret": ["of theirs"]}\'', 'labels @> \'{"a": ["b"]}\''),
        ("sealed_access_token > '\\x00'", "sealed_access_token > '\\xff'"),
    ):
        assert told(f"ref = 'theirs' and {right}") == told(f"ref = 'theirs' and {wrong}")


def test_a_mass_revocation_is_held_whatever_it_calls_itself(fleet: Harness, attacker: psycopg.Connection) -> None:
    fleet.run("update evergrant.clients set revocation_limit = 3")
    for n in range(12):
        attacker.execute("select set_config('evergrant.application', %s, false)", [f"another-{n}"])
        attacker.execute("select evergrant.request_revocation(%s)", [f"mine-{n}"])
    assert fleet.one("select count(*) as n from evergrant.revocations")["n"] == 3
    assert fleet.one("select count(*) as n from evergrant.held_revocations")["n"] == 9
    out = "select count(*) from evergrant.own_access_tokens where sealed_access_token is not null"
    assert attacker.execute(out).fetchone() == (9,)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        ("request_refresh(repeat('x', 1000000))", "ref"),
        ("request_refresh('mine-0', client => repeat('x', 256))", "client"),
        ("request_revocation(repeat('x', 256))", "ref"),
        ("request_revocation('mine-0', client => repeat('x', 256))", "client"),
        ("request_revocation('mine-0', reason => repeat('x', 1001))", "reason"),
        ("request_revocation('mine-0', idempotency_key => repeat('x', 1001))", "idempotency_key"),
    ],
)
def test_a_long_text_is_refused_by_its_name_and_nothing_is_kept(
    fleet: Harness, attacker: psycopg.Connection, call: str, argument: str
) -> None:
    with pytest.raises(psycopg.errors.StringDataRightTruncation) as caught:
        attacker.execute(f"select evergrant.{call}".encode())
    assert (caught.value.diag.message_primary or "").startswith(f"{argument} has ")
    assert len(caught.value.diag.message_primary or "") < 100
    assert fleet.all("select from evergrant.revocation_asks") == []


def test_a_long_name_of_an_application_is_cut(fleet: Harness, attacker: psycopg.Connection) -> None:
    attacker.execute("select set_config('evergrant.application', repeat('x', 1000000), false)")
    attacker.execute("select evergrant.request_revocation('mine-0')")
    assert fleet.one("select length(requested_by) as n from evergrant.revocations")["n"] < 400


def test_it_can_lock_nothing_of_ours(fleet: Harness, attacker: psycopg.Connection) -> None:
    """Its requests take a key share of its grants, which nothing that works on them waits for."""
    for statement in (
        "select from evergrant.own_access_tokens for update",
        "lock evergrant.own_access_tokens",
        "lock evergrant.access_tokens",
        "lock evergrant.grants in row share mode",
    ):
        assert not allowed(attacker, statement), statement
    grant = fleet.one("select id, client_id from evergrant.grants where ref = 'mine-0'")
    with attacker.transaction(force_rollback=True):
        attacker.execute("select evergrant.request_revocation('mine-' || n) from generate_series(0, 11) n")
        fleet.runtime.giving_up.set()
        fleet.until_due(grant["id"])
        started = fleet.start(fleet.claim(grant["client_id"]).due)
        assert started
        fleet.settle(*((attempt, token_set(str(attempt.job.grant_id))) for attempt in started))
        assert fleet.row(grant["id"])["generation"] == 2
