"""A role for one application: over real connections of its login, the grants of its clients and no other."""

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from models.application_role import CONNECTIONS, LIMITS
from models.database import transaction
from tests.application_logins import Logins, allowed, logins
from tests.harness import Harness

VIEW = "select * from evergrant.own_access_tokens"
REFRESH = "select evergrant.request_refresh('customer', client => 'demo')"
REVOKE = "select evergrant.request_revocation('customer', client => 'demo')"


@pytest.fixture
def fleet(harness: Harness) -> Harness:
    """Two clients with a grant of the same ref, and one of its own in the other."""
    harness.grant(harness.client())
    other = harness.client("other")
    harness.grant(other)
    harness.grant(other, "theirs")
    return harness


@pytest.fixture
def made(fleet: Harness) -> Iterator[Logins]:
    with logins(fleet) as found:
        yield found


def seen(connection: psycopg.Connection, condition: str = "true") -> set[tuple[str, str]]:
    query = f"select client, ref from evergrant.own_access_tokens where {condition}"  # noqa: S608
    return {(client, ref) for client, ref in connection.execute(query.encode()).fetchall()}


def state_of(connection: psycopg.Connection, statement: str) -> str | None:
    with pytest.raises(psycopg.Error) as caught:
        connection.execute(statement.encode())
    return caught.value.sqlstate


def test_it_sees_the_grants_of_its_clients_with_their_tokens(made: Logins) -> None:
    assert seen(made.application("demo")) == {("demo", "customer")}
    assert seen(made.application("other")) == {("other", "customer"), ("other", "theirs")}
    assert len(seen(made.application("demo", "other"), "sealed_access_token is not null")) == 3


def test_the_view_has_the_columns_of_the_one_for_all(fleet: Harness) -> None:
    query = "select column_name from information_schema.columns where table_name = :name order by ordinal_position"
    every, own = (fleet.all(query, name=name) for name in ("access_tokens", "own_access_tokens"))
    assert own == every


def test_a_ref_of_another_client_is_unknown_to_the_functions(made: Logins) -> None:
    application = made.application("demo")
    for function in ("request_refresh", "request_revocation"):
        assert state_of(application, f"select evergrant.{function}('theirs')") == "P0002"
        assert state_of(application, f"select evergrant.{function}('customer', client => 'other')") == "P0002"
    missing = "select evergrant.request_revocation('theirs', missing_ok => true)"
    assert application.execute(missing).fetchone() == (None,)


def test_a_ref_that_another_client_has_too_is_not_ambiguous_to_it(made: Logins, fleet: Harness) -> None:
    application = made.application("demo")
    assert application.execute("select evergrant.request_refresh('customer')").fetchone() == (2,)
    application.execute("select evergrant.request_revocation('customer')")
    found = fleet.one("select c.name from evergrant.revocations r join evergrant.clients c on c.id = r.client_id")
    assert found["name"] == "demo"
    both = made.application("demo", "other")
    assert state_of(both, "select evergrant.request_refresh('customer')") == "P0003"


@pytest.mark.parametrize(
    ("may", "permitted"),
    [(("read",), {VIEW}), (("refresh",), {REFRESH}), (("revoke",), {REVOKE}), (("read", "refresh"), {VIEW, REFRESH})],
)
def test_it_may_what_it_was_given_and_no_more(made: Logins, may: tuple[str, ...], permitted: set[str]) -> None:
    application = made.application("demo", may=may)
    assert {each for each in (VIEW, REFRESH, REVOKE) if allowed(application, each)} == permitted


def test_two_roles_of_one_login_do_not_lend_each_other_their_clients(made: Logins) -> None:
    reads, revokes = made.role("demo", may=["read"]), made.role("other", may=["revoke"])
    application = made.connect(made.login(reads, revokes))
    assert seen(application) == {("demo", "customer")}
    assert state_of(application, REVOKE) == "P0002"
    assert allowed(application, "select evergrant.request_revocation('theirs')")


def test_a_role_that_it_inherits_by_another_group_narrows_it_too(made: Logins) -> None:
    group = made.login(made.role("demo"))
    assert seen(made.connect(made.login(group))) == {("demo", "customer")}


def test_a_login_that_takes_its_role_by_set_role_alone_is_narrowed_too(made: Logins, fleet: Harness) -> None:
    role = made.role("demo")
    login = made.login(role)
    fleet.run(f"alter role {login} noinherit")
    application = made.connect(login)
    application.execute(f"set role {role}".encode())
    assert seen(application) == {("demo", "customer")}
    assert state_of(application, "select evergrant.request_revocation('theirs')") == "P0002"


def test_who_has_a_group_for_all_besides_is_narrowed_as_well(made: Logins) -> None:
    application = made.connect(made.login("evergrant_requester", made.role("demo")))
    assert state_of(application, "select evergrant.request_revocation('theirs')") == "P0002"


def test_who_has_no_role_of_an_application_sees_nothing_there_and_goes_on_as_before(made: Logins) -> None:
    made.role("demo")
    before = made.connect(made.login("evergrant_requester", "evergrant_reader"))
    assert allowed(before, "select evergrant.request_revocation('theirs')")
    assert len(before.execute("select from evergrant.access_tokens").fetchall()) == 3
    assert not allowed(before, VIEW)


def test_the_owner_is_not_narrowed_by_roles_that_it_could_have(made: Logins, fleet: Harness) -> None:
    made.role("demo")
    assert fleet.one("select evergrant.request_refresh('theirs') as generation")["generation"] == 2


def test_it_is_made_anew_with_other_clients_and_rights(made: Logins, fleet: Harness) -> None:
    from models import roles
    from models.application_role import OwnRole

    role = made.role("demo")
    application = made.connect(made.login(role))
    with transaction() as connection:
        narrower = OwnRole(role.removeprefix("evergrant_app_"), ["other"], ["read"])
        roles.carry_out(connection, narrower.statements())
    assert seen(application) == {("other", "customer"), ("other", "theirs")}
    assert not allowed(application, REFRESH)


def test_the_five_roles_may_be_applied_again_and_it_stays_as_it_is(made: Logins) -> None:
    from models import roles

    application = made.application("demo")
    with transaction() as connection:
        roles.apply(connection)
    assert allowed(application, REFRESH)
    assert seen(application) == {("demo", "customer")}


def test_a_role_that_a_dba_has_dropped_troubles_nobody(made: Logins, fleet: Harness) -> None:
    gone = made.role("demo")
    fleet.run(f"drop owned by {gone}; drop role {gone}")
    made.made.remove(gone)
    assert seen(made.application("demo")) == {("demo", "customer")}


def test_a_login_that_is_named_has_time_outs_and_a_limit_of_connections(made: Logins, fleet: Harness) -> None:
    login = made.login()
    made.role("demo", login=login)
    application = made.connect(login)
    assert seen(application) == {("demo", "customer")}
    for name, limit in LIMITS.items():
        assert application.execute(f"show {name}".encode()).fetchone() == (limit,)
    found = fleet.one("select rolconnlimit from pg_roles where rolname = :name", name=login)
    assert found["rolconnlimit"] == CONNECTIONS


def test_a_token_is_found_by_its_ref_through_the_barrier(made: Logins, fleet: Harness) -> None:
    application = made.application("demo")
    fleet.grants(1, 3)
    with application.transaction():
        application.execute("set local enable_seqscan = off")
        plan = application.execute(f"explain (costs off) {VIEW} where ref = 'customer'".encode()).fetchall()
    told = "\n".join(line for (line,) in plan)
    assert "ix_grants_ref" in told, told
    assert "Seq Scan on grants" not in told, told


def test_one_that_is_kept_on_demand_is_renewed_when_it_is_read_there(made: Logins, fleet: Harness) -> None:
    grant = fleet.grant(1, "sleeper", keep="on-demand", due_in=timedelta(days=3), access_left=timedelta(minutes=1))
    application = made.application("demo")
    application.execute(f"{VIEW} where ref = 'sleeper'".encode()).fetchall()
    assert fleet.all("select from evergrant.refresh_requests where grant_id = :id", id=grant)
