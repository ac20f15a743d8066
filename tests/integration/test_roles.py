"""The five roles, each tried over a real connection of a login of its own: what it may, and what it must not."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from alembic import command
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr
from sqlalchemy import Engine, text

import settings
from models import database, migrations, public_listener, roles
from models.database import transaction
from models.errors import NotTheOwner
from tasks import explain, upkeep
from tasks.runtime import runtime
from tasks.runtime.runtime import Runtime
from tasks.settling.settle import journal_answers, settle
from tests.harness import LOST, Harness, token_set
from worker.web import visit_metrics

Login = Callable[[str], psycopg.Connection]
EVERYTHING = {"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"}


def url(harness: Harness) -> str:
    found = harness.settings.database_url
    assert found is not None
    return found.get_secret_value()


@pytest.fixture
def logins(harness: Harness) -> Iterator[Callable[[str], str]]:
    """`logins(role)`: the conninfo of a new login that is a member of this role alone."""
    with transaction() as connection:
        roles.apply(connection)
    made: list[str] = []

    def new(role: str) -> str:
        name, password = f"login_{secrets.token_hex(6)}", secrets.token_hex(8)
        harness.run(f"create role {name} login password '{password}' in role {role}")
        made.append(name)
        return make_conninfo(url(harness), user=name, password=password)

    yield new
    database.dispose()
    for name in made:
        harness.run(f"drop role {name}")


@pytest.fixture
def login(logins: Callable[[str], str]) -> Iterator[Login]:
    """A connection of such a login."""
    opened: list[psycopg.Connection] = []

    def connect(role: str) -> psycopg.Connection:
        opened.append(psycopg.connect(logins(role), autocommit=True))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


@contextmanager
def as_login(harness: Harness, conninfo: str) -> Iterator[None]:
    """Let the engine of this process connect as another login."""
    owner, parts = harness.settings, conninfo_to_dict(conninfo)
    address = "postgresql://{user}:{password}@/{dbname}?host={host}".format_map(parts)
    address += f"&port={parts['port']}" if "port" in parts else ""
    database.dispose()
    settings.adopt(owner.model_copy(update={"database_url": SecretStr(address)}))
    try:
        yield
    finally:
        database.dispose()
        settings.adopt(owner)


def may(connection: psycopg.Connection, statement: str) -> bool:
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(statement.encode())
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


def rights(connection: psycopg.Connection) -> dict[str, set[str]]:
    """Every table of the schema → what the login may do with all of it."""
    found = connection.execute("""
        select c.relname, r.what from pg_class c
        cross join unnest(array['SELECT','INSERT','UPDATE','DELETE','TRUNCATE','REFERENCES','TRIGGER']) r (what)
        where c.relnamespace = 'evergrant'::regnamespace and c.relkind in ('r', 'v')
            and has_table_privilege(c.oid, r.what)""")
    held: dict[str, set[str]] = {}
    for table, what in found.fetchall():
        held.setdefault(table, set()).add(what)
    return held


REFRESH = "select evergrant.request_refresh('customer')"
REVOKE = "select evergrant.request_revocation('customer')"
CONNECT = "select evergrant.connect_url(evergrant.request_connect('customer'))"
VIEW = "select * from evergrant.access_tokens"


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("evergrant_requester", {REFRESH, REVOKE}),
        ("evergrant_reader", {VIEW}),
        ("evergrant_web", {REFRESH, REVOKE, CONNECT, VIEW}),
        ("evergrant_worker", {REFRESH, REVOKE, CONNECT}),
        ("evergrant_admin", {REFRESH, REVOKE, CONNECT, VIEW}),
    ],
)
def test_each_role_may_use_its_part_of_the_surface_and_no_other(
    harness: Harness, login: Login, role: str, allowed: set[str]
) -> None:
    harness.grant(harness.client())
    connection = login(role)
    assert {statement for statement in (REFRESH, REVOKE, CONNECT, VIEW) if may(connection, statement)} == allowed


@pytest.mark.parametrize("role", ["evergrant_requester", "evergrant_reader"])
def test_an_application_may_touch_no_table(login: Login, role: str) -> None:
    assert set(rights(login(role))) <= {"access_tokens"}


def test_web_reads_no_sealed_secret_and_changes_only_its_own_tables(harness: Harness, login: Login) -> None:
    harness.grant(harness.client())
    web = login("evergrant_web")
    for column in ("clients.sealed_client_secret", "grants.sealed_refresh_token", "former_tokens.sealed_refresh_token"):
        table, _, name = column.partition(".")
        assert not may(web, f"select {name} from evergrant.{table}"), column  # noqa: S608
    assert may(web, "select id, ref, status, due_at from evergrant.grants")
    changed = {table for table, held in rights(web).items() if held & (EVERYTHING - {"SELECT"})}
    assert changed == {"connect_requests", "notices", "processes", "tickets", "visits"}
    assert not may(web, "update evergrant.installation set environment = 'other'")
    assert not may(web, "select evergrant.make_ticket(1, 'a', null, null, null, null, true)")


def test_a_web_says_that_it_leads_customers_and_tells_of_them_and_a_worker_forgets_it(
    harness: Harness, logins: Callable[[str], str]
) -> None:
    with as_login(harness, logins("evergrant_web")), transaction() as connection:
        public_listener.begin(connection, "https://connect.test")
        public_listener.go_on(connection, "https://connect.test")
        visit_metrics.look(connection)
    harness.run("update evergrant.installation set public_url_seen_at = now() - interval '2 days'")
    with as_login(harness, logins("evergrant_worker")), transaction() as connection:
        public_listener.forget_silent(connection)
    assert harness.one("select public_url from evergrant.installation")["public_url"] is None


def test_a_worker_changes_no_client_and_no_table(login: Login) -> None:
    worker = login("evergrant_worker")
    held = rights(worker)
    assert held["clients"] == held["alembic_version"] == {"SELECT"}
    assert "access_tokens" not in held
    assert not set.union(*held.values()) & {"TRUNCATE", "REFERENCES", "TRIGGER"}
    for statement in ("create table evergrant.mine ()", "drop table evergrant.grants", "create role another"):
        assert not may(worker, statement), statement


def test_an_operator_changes_every_row_and_no_table(login: Login) -> None:
    admin = login("evergrant_admin")
    held = rights(admin)
    for table in roles.TABLES.keys() - {"alembic_version", "events"}:
        assert held[table] == {"SELECT", "INSERT", "UPDATE", "DELETE"}, table
    assert not may(admin, "alter table evergrant.grants add mine text")


def test_a_worker_does_all_its_work_as_evergrant_worker(harness: Harness, logins: Callable[[str], str]) -> None:
    """Claim, start, settle, doubt, drift, requests, a revocation, an erasure, every chore, as such a login."""
    client, drifting = harness.client(), harness.client("drifting", rotation="none")
    harness.grant(drifting, "drifted")
    grant = harness.grant(client)
    gone = harness.grant(client, "gone", status="revoked", sealed_refresh_token=None, sealed_access_token=None)
    with as_login(harness, logins("evergrant_worker")):
        assert harness.one("select current_user like 'login_%' as it_is")["it_is"]
        harness.ask(client, token_set("2"))
        harness.until_due(grant)
        harness.ask(client, LOST)
        harness.until_due(grant)
        harness.ask(client, token_set("3"))
        harness.ask(drifting, token_set("other"))
        harness.later(minutes=2)
        upkeep.request_refresh("customer", if_generation=3)
        assert [grant_id for grant_id, _ in harness.claim(client).requested] == [grant]
        upkeep.request_revocation("customer", reason="left")
        harness.later(minutes=2)
        assert len(harness.start(harness.claim(client).revocations, status="revoking")) == 1
        upkeep.request_revocation("gone", erase=True)
        runtime.start(harness.settings, journal=journal_answers, settle=settle)
        for name in upkeep.CHORES:
            upkeep.upkeep(name)
        runtime.close()
    assert harness.token(grant) == "rt-3"
    assert harness.one("select rotation from evergrant.clients where id = :id", id=drifting)["rotation"] == "family"
    assert harness.row(gone)["ref"] == f"erased-{gone}"


@pytest.mark.parametrize("role", ["evergrant_worker", "evergrant_admin"])
def test_a_process_opens_a_journal_above_those_that_are_on_the_disk(
    harness: Harness, logins: Callable[[str], str], role: str
) -> None:
    with as_login(harness, logins(role)):
        opened = Runtime.open(harness.settings)
        assert opened.journal_id > harness.runtime.journal_id
        opened.close()


def test_what_a_role_got_by_hand_is_taken_back(harness: Harness, login: Login) -> None:
    reader = login("evergrant_reader")
    harness.run("grant all on evergrant.grants to evergrant_reader")
    harness.run("grant execute on function evergrant.request_refresh to evergrant_reader")
    assert may(reader, "select * from evergrant.grants")
    with transaction() as connection:
        roles.apply(connection)
        roles.apply(connection)
    assert not may(reader, "select * from evergrant.grants")
    assert not may(reader, REFRESH)


@pytest.mark.parametrize("role", ["evergrant_worker", "evergrant_web", "evergrant_admin"])
def test_nobody_changes_what_has_happened(harness: Harness, login: Login, role: str) -> None:
    """But the owner; and an erasure, of a grant that is dead and to be forgotten."""
    grant = harness.grant(harness.client())
    harness.run(
        "insert into evergrant.events (type, grant_id, ref) select 'grant.connected', id, ref from evergrant.grants"
    )
    connection = login(role)
    for statement in ("update evergrant.events set reason = 'x'", "delete from evergrant.events"):
        assert not may(connection, statement), statement
    forget = f"select evergrant.forget_events(array['{grant}'::uuid])"
    assert may(connection, forget) == (role != "evergrant_web")
    if role == "evergrant_web":
        return
    connection.execute(forget.encode())
    assert harness.one("select ref from evergrant.events where grant_id is not null")["ref"] == "customer"
    harness.run("insert into evergrant.erasures (grant_id) values (:id)", id=grant)
    connection.execute(forget.encode())
    assert harness.one("select ref from evergrant.events where grant_id is not null")["ref"] == "customer"
    harness.set(grant, status="revoked")
    connection.execute(forget.encode())
    assert harness.one("select ref from evergrant.events where grant_id is not null")["ref"] == f"erased-{grant}"


def test_every_table_is_decided_about(harness: Harness) -> None:
    """A new table must be named in models/roles.py, or the worker would fail at the first site that uses the roles."""
    found = {
        row["name"] for row in harness.all("select tablename as name from pg_tables where schemaname = 'evergrant'")
    }
    assert found == set(roles.TABLES)


def test_a_login_that_does_not_own_the_schema_is_told_so(harness: Harness, logins: Callable[[str], str]) -> None:
    with as_login(harness, logins("evergrant_admin")), pytest.raises(NotTheOwner), transaction() as connection:
        roles.apply(connection)


OF_THE_FIRST_RELEASE = (
    *(roles.CREATE.format(role=role) for role in roles.ROLES),
    "grant select, insert, update, delete on all tables in schema evergrant to evergrant_admin",
    "grant select on evergrant.clients to evergrant_worker",
    "grant select, insert, update, delete on evergrant.grants to evergrant_worker",
)


def test_roles_that_were_applied_before_an_upgrade_need_not_be_applied_again(empty_postgres_url: str) -> None:
    engine = database.connect(empty_postgres_url)
    config = migrations.config()
    config.attributes["engine"] = engine
    command.upgrade(config, "0001")
    with engine.begin() as connection:
        for statement in OF_THE_FIRST_RELEASE:
            connection.exec_driver_sql(statement)
        known = "select table_name from information_schema.tables where table_schema = 'evergrant'"
        first = list(connection.exec_driver_sql(known).scalars())
    command.upgrade(config, "head")
    held = {role: _held(engine, role, first) for role in ("evergrant_worker", "evergrant_web", "evergrant_admin")}
    with engine.begin() as connection:
        roles.apply(connection)
    more = {role: _held(engine, role, first) - was for role, was in held.items()}
    engine.dispose()
    assert not any(more.values()), more


def _held(engine: Engine, role: str, first: list[str]) -> set[tuple[str, str, str]]:
    """Table, column and right, of what came with the upgrades."""
    new = """
        select table_name, column_name, privilege_type from information_schema.role_column_grants
        where table_schema = 'evergrant' and grantee = :role and (
            table_name <> all (cast(:first as text[]))
            or table_name = 'clients' and column_name = any (cast(:clients as text[]))
            or table_name = 'grants' and column_name = any (cast(:grants as text[]))
            or table_name = 'installation' and grantee = 'evergrant_web' and privilege_type = 'UPDATE'
        )
    """
    clients = ["former_secret_at", "secret_refused_at", "secret_refused_code", "drift", "drift_watch", "after_grace"]
    clients += ["revocation_limit", "revocations_accepted_at"]
    grants = ["refusals", "refused_since", "refused_code", "refresh_expires_at", "consent_expires_at"]
    parameters = {
        "role": role,
        "first": first,
        "clients": clients,
        "grants": [*grants, "last_error_rule", "last_error_shape", "spent_refused_at"],
    }
    with engine.connect() as connection:
        return {tuple(row) for row in connection.execute(text(new), parameters)}


@pytest.mark.parametrize("role", ["evergrant_web", "evergrant_admin"])
def test_who_may_read_nothing_sealed_may_be_told_why_a_grant_stopped(
    harness: Harness, logins: Callable[[str], str], role: str
) -> None:
    grant = harness.grant(harness.client())
    conninfo = logins(role)
    with as_login(harness, conninfo), transaction() as connection:
        told = explain.of_grant(connection, grant, settings=harness.settings)
    assert told.cause == "no_beat_is_alive"
