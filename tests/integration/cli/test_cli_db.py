"""`evergrant db`, and what a database that does not fit gets."""

import secrets
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url

import settings
from models import application_role, installation
from models import database as models_database
from models import journal as register
from tests.integration.cli.evergrant import Evergrant
from tests.other_languages import psql
from worker.cli.db.roles import MAY


def _use(url: str, **more: Any) -> None:
    models_database.dispose()
    settings.adopt(settings.current().model_copy(update={"database_url": SecretStr(url), **more}))


def _url() -> str:
    found = settings.current().database_url
    assert found is not None
    return found.get_secret_value()


def test_the_first_upgrade_makes_the_tables_and_remembers_the_database(
    evergrant: Evergrant, empty_postgres_url: str
) -> None:
    _use(empty_postgres_url)
    assert evergrant("grants", "list", "--json").error == "schema_behind"
    assert "there are none" in evergrant("db", "check").out
    assert evergrant("db", "upgrade").code == 0
    assert evergrant("db", "upgrade", "--json").json == evergrant("db", "upgrade", "--json").json
    found = evergrant("db", "current", "--json").json
    assert found["revision"] == found["needed"]
    assert evergrant("db", "check").code == 0
    assert "already" in evergrant("db", "adopt").out


def test_a_database_of_ones_own_needs_the_name_of_its_environment(evergrant: Evergrant) -> None:
    settings.adopt(settings.current().model_copy(update={"environment": None}))
    done = evergrant("db", "upgrade", "--json")
    assert (done.code, done.error) == (2, "no_environment")


def test_another_environment_is_found_and_adopted_only_when_told(evergrant: Evergrant, sql: Any) -> None:
    settings.adopt(settings.current().model_copy(update={"environment": "staging"}))
    checked = evergrant("db", "check", "--json")
    assert checked.code == 1
    assert "environment" in checked.lines[0]["finding"]
    assert checked.lines[0]["next"].startswith("export EVERGRANT_ENVIRONMENT=")
    refused = evergrant("db", "adopt", "--json")
    assert (refused.code, refused.error) == (2, "needs_yes")
    assert evergrant("db", "adopt", "--yes").code == 0
    assert evergrant("db", "check").code == 0
    assert sql("select environment from evergrant.installation") == [("staging",)]


def test_what_is_another_environments_is_looked_at_and_not_changed(evergrant: Evergrant, sql: Any) -> None:
    """A variable left in a shell: what was meant for staging would have paused production."""
    command = "clients add temple --provider event-temple --client-id c --client-secret-file -"
    added = evergrant(*command.split(), stdin="s")
    assert added.code == 0, added.err
    settings.adopt(settings.current().model_copy(update={"environment": "staging"}))

    assert evergrant("clients", "list").code == 0
    for changing in (("clients", "pause", "temple"), ("grants", "authorize-url", "r"), ("clients", "set", "temple")):
        refused = evergrant(*changing, "--json")
        assert (refused.code, refused.error) == (1, "foreign_environment"), changing
    assert "staging" in refused.err


def test_a_database_of_a_newer_release_is_left_alone(evergrant: Evergrant, sql: Any) -> None:
    sql("update evergrant.alembic_version set version_num = '9999'")
    for command in ("grants list", "db upgrade", "status"):
        done = evergrant(*command.split(), "--json")
        assert (done.code, done.error) == (1, "database_newer"), command
    assert "newer release" in evergrant("db", "check").out


def test_a_database_that_may_lose_commits_is_found(evergrant: Evergrant, sql: Any) -> None:
    name = sql("select current_database()")[0][0]
    sql(f"alter database {name} set synchronous_commit = off")
    models_database.dispose()
    done = evergrant("db", "check", "--json")
    assert (done.code, done.lines[0]["check"]) == (1, "synchronous_commit")


def test_a_misspelt_variable_is_found(evergrant: Evergrant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGRANT_JOURNALS_HOURS", "72")
    done = evergrant("db", "check", "--json")
    assert (done.code, done.lines) == (
        1,
        [
            {
                "check": "environment",
                "finding": "EVERGRANT_JOURNALS_HOURS is no setting and is ignored",
                "next": "set EVERGRANT_JOURNAL_HOURS instead",
            }
        ],
    )


def test_a_database_that_is_away_means_try_again(evergrant: Evergrant) -> None:
    _use("postgresql://nobody@127.0.0.1:1/none")
    for command in ("grants list", "clients list", "db current", "status", "grants pause a", "worker --check"):
        done = evergrant(*command.split(), "--json")
        assert (done.code, done.error) == (75, "database_away"), command
        assert len(done.err.splitlines()) == 1


def test_an_incident_is_found_and_adopt_goes_on_without_the_journals_that_are_gone(
    evergrant: Evergrant, sql: Any
) -> None:
    sql("insert into evergrant.journals (host, process) values ('elsewhere', '1')")
    sql("update evergrant.installation set incident_no = 1, incident_at = clock_timestamp()")
    assert "not replayed yet: journals 1 of elsewhere" in evergrant("db", "check", "--json").lines[0]["finding"]
    refused = evergrant("db", "adopt", "--json")
    assert (refused.code, refused.error) == (2, "needs_yes")
    assert evergrant("db", "adopt", "--yes", "--json").json["abandoned"] == [1]
    assert sql("select abandoned_at is not null, abandoned_by is not null from evergrant.journals") == [(True, True)]
    # The next look of a worker closes it, also where the journal's own says before that it lives.
    with models_database.transaction() as connection:
        register.see(connection, 1)
        assert installation.close_incident(connection, least=timedelta(0))
    assert evergrant("db", "check").code == 0


def test_roles_are_printed_as_a_script_that_psql_takes_and_applied_when_told(evergrant: Evergrant, sql: Any) -> None:
    """The roles belong to the whole cluster, their rights to this database."""
    readers = "select has_table_privilege('evergrant_reader', 'evergrant.access_tokens', 'select')"
    printed = evergrant("db", "roles")
    assert printed.code == 0
    assert psql(_url(), printed.out).stderr == ""
    assert sql(readers) == [(True,)]
    sql("revoke all on evergrant.access_tokens from evergrant_reader")
    shown = evergrant("db", "roles", "--json").json
    assert (shown["applied"], sql(readers)) == (False, [(False,)])
    assert len(shown["roles"]) == 5
    assert evergrant("db", "roles", "--apply").code == 0
    assert sql(readers) == [(True,)]


def test_roles_are_handed_out_by_the_owner_alone(evergrant: Evergrant, sql: Any) -> None:
    name = f"login_{secrets.token_hex(6)}"
    evergrant("db", "roles", "--apply")
    sql(f"create role {name} login password 'hush' in role evergrant_admin")
    owner = _url()
    try:
        as_login = make_url(owner).set(username=name, password="hush")
        _use(as_login.render_as_string(hide_password=False))
        done = evergrant("db", "roles", "--apply", "--json")
        assert (done.code, done.error) == (1, "not_permitted")
    finally:
        _use(owner)
        # Not `sql`: its engine was disposed of by `_use`, and would open a connection that nobody closes.
        with models_database.transaction() as connection:
            connection.exec_driver_sql(f"drop role {name}")


def test_an_applications_role_is_printed_as_a_script_and_applied_when_told(temple: Evergrant, sql: Any) -> None:
    name, login = f"t{secrets.token_hex(6)}", f"login_{secrets.token_hex(6)}"
    words = ["db", "roles", "--application", name, "--client", "temple", "--may", "refresh,read", "--login", login]
    try:
        assert temple(*words, "--json").error == "usage"
        sql(f"create role {login} login")
        printed = temple(*words)
        assert sql("select count(*) from evergrant.application_roles") == [(0,)]
        assert psql(_url(), printed.out).stderr == ""
        assert sql("select role, may from evergrant.application_roles") == [
            (f"evergrant_app_{name}", ["read", "refresh"])
        ]
        assert sql("select client_ids = array(select id from evergrant.clients) from evergrant.application_roles")[0][0]
        assert sql(f"select pg_has_role('{login}', 'evergrant_app_{name}', 'member')") == [(True,)]
        done = temple(*words[:-2], "--may", "revoke", "--apply", "--json").json
        assert (done["applied"], done["roles"]) == (True, [f"evergrant_app_{name}"])
        assert sql("select may from evergrant.application_roles") == [(["revoke"],)]
    finally:
        sql(f"drop owned by evergrant_app_{name}; drop role evergrant_app_{name}; drop role {login}")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("--client temple", 2, "add --application NAME"),
        ("--application billing", 2, "add --client NAME"),
        ("--application Billing-1 --client temple", 2, "a letter first"),
        ("--application billing --client nobody", 4, "no client 'nobody'"),
        ("--application billing --client temple --may write", 2, "read,refresh,revoke"),
        ("--application billing --client temple --login nobody-here", 2, "create role NAME login"),
    ],
)
def test_an_applications_role_that_cannot_be_made_is_told_and_nothing_is_done(
    temple: Evergrant, sql: Any, words: str, code: int, told: str
) -> None:
    done = temple("db", "roles", *words.split(), "--apply")
    assert (done.code, told in done.err) == (code, True), done.err
    assert sql("select count(*) from evergrant.application_roles") == [(0,)]


def test_the_commands_rights_are_those_that_a_role_may_have() -> None:
    assert tuple(application_role.MAY) == MAY
