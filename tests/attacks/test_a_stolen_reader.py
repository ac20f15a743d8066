"""A stolen login that may only read over SQL: sealed bytes, and nobody is kept waiting for what it holds."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from models.application_role import CONNECTIONS
from models.sealing.keys import KeyMissing, SealBroken
from models.sealing.vault import KeyRing, Vault, key_id
from tasks.runtime.runtime import Runtime
from tests.application_logins import Logins, allowed, logins
from tests.harness import Harness, token_set
from tests.integration import conftest as integration

harness = integration.harness
VIEWS = {"evergrant_reader": "access_tokens", "a role of its own": "own_access_tokens"}
# What the views and the functions call in the name of whoever asks. The one that changes something, `hand_out`, makes a
# sleeping grant be refreshed, of which it must be told the id.
OF_THE_VIEWS = {"database_state", "hand_out", "own_clients", "is_owner", "refuse_long"}


@pytest.fixture
def fleet(harness: Harness) -> Harness:
    harness.grant(harness.client())
    return harness


@pytest.fixture
def made(fleet: Harness) -> Iterator[Logins]:
    with logins(fleet) as found:
        yield found


@pytest.fixture(params=VIEWS)
def kind(request: pytest.FixtureRequest) -> str:
    """Of which kind the stolen login is."""
    found: str = request.param
    return found


@pytest.fixture
def thief(made: Logins, kind: str) -> psycopg.Connection:
    """A connection of that login."""
    role = kind if kind == "evergrant_reader" else made.role("demo", may=["read"])
    return made.connect(made.login(role))


def test_what_it_sees_is_sealed_and_opens_with_no_other_ring(
    fleet: Harness, thief: psycopg.Connection, kind: str
) -> None:
    query = f"select grant_id, sealed_access_token, t::text from evergrant.{VIEWS[kind]} t"  # noqa: S608
    ((grant, sealed, line),) = thief.execute(query.encode()).fetchall()
    assert "at-customer-1" not in line
    assert b"at-customer-1" not in sealed
    place = {"table": "grants", "row_id": grant, "purpose": "access"}
    ours = fleet.runtime.vault
    assert ours.open(sealed, **place) == "at-customer-1"
    forged = KeyRing.parse(KeyRing.generate_line(key_id(sealed)))
    for ring, error in ((forged, SealBroken), (ours.refresh, KeyMissing)):
        with pytest.raises(error):
            Vault(None, ring).open(sealed, **place)


def test_it_touches_no_table_and_calls_no_function_that_is_not_its_own(thief: psycopg.Connection, kind: str) -> None:
    tables = thief.execute(
        """select relname from pg_class
            where relnamespace = 'evergrant'::regnamespace and relkind in ('r', 'v', 'S', 'm')"""
    ).fetchall()
    assert len(tables) > 20
    for (table,) in tables:
        if table != VIEWS[kind]:
            assert not allowed(thief, f"select from evergrant.{table}"), table
    functions = thief.execute(
        """select proname from pg_proc where pronamespace = 'evergrant'::regnamespace
            and prorettype <> 'trigger'::regtype and has_function_privilege(oid, 'execute')"""
    ).fetchall()
    assert {name for (name,) in functions} == OF_THE_VIEWS


def test_it_becomes_nobody_and_reads_nobodys_password_nor_statements(fleet: Harness, thief: psycopg.Connection) -> None:
    for role in ("evergrant_worker", "evergrant_web", "evergrant_admin", "evergrant_requester", "pg_read_all_data"):
        assert not allowed(thief, f"set role {role}"), role
        assert not allowed(thief, f"grant {role} to current_user"), role
    for statement in (
        "select rolpassword from pg_authid",
        "select pg_read_file('postgresql.conf')",
        "copy (select 1) to program 'true'",
        "select pg_ls_waldir()",
    ):
        assert not allowed(thief, statement), statement
    others = "select query from pg_stat_activity where usename <> current_user and query <> ''"
    told = {query for (query,) in thief.execute(others).fetchall()}
    assert fleet.one("select count(*) as n from pg_stat_activity where usename = current_user")["n"] > 0
    assert told == {"<insufficient privilege>"}


def test_what_it_holds_forever_keeps_nobody_waiting(fleet: Harness, thief: psycopg.Connection, kind: str) -> None:
    """Time-outs are for the careless: whoever has the login may set them off, and every login may lock a number."""
    grant = fleet.one("select id, client_id from evergrant.grants")
    thief.execute("set idle_in_transaction_session_timeout = 0; set statement_timeout = 0")
    thief.execute("select pg_advisory_lock(hashtext('evergrant.journals'))")
    with thief.transaction(force_rollback=True):
        thief.execute(sql.SQL("select from evergrant.{}").format(sql.Identifier(VIEWS[kind])))
        for mode in ("row exclusive", "share", "exclusive", "access exclusive"):
            assert not allowed(thief, f"lock table evergrant.grants in {mode} mode"), mode
        opened = Runtime.open(fleet.settings)  # another process, that registers a journal
        assert opened.journal_id > fleet.runtime.journal_id
        opened.close()
        fleet.until_due(grant["id"])
        fleet.settle(*((each, token_set("2")) for each in fleet.start(fleet.claim(grant["client_id"]).due)))
        assert fleet.token(grant["id"]) == "rt-2"


def test_a_login_that_was_named_takes_so_many_connections_and_gives_itself_no_more(
    fleet: Harness, made: Logins
) -> None:
    login = made.login()
    made.role("demo", may=["read"], login=login)
    opened = [made.connect(login) for _ in range(CONNECTIONS)]
    with pytest.raises(psycopg.OperationalError, match="too many connections"):
        made.connect(login)
    assert not allowed(
        opened[0], sql.SQL("alter role {} connection limit 500").format(sql.Identifier(login)).as_string()
    )
    assert fleet.one("select 1 as one")["one"] == 1
