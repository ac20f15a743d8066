"""A database that answers and takes no write is named first, before those who cannot say there that they live."""

import os
import secrets
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

import settings
from models import database as models_database
from tests.integration.cli.evergrant import ALIVE, Evergrant
from worker.embedded.engines import Engines

COMMITS_NOTHING = "the database commits nothing (no answer within 5 s): nothing is sent"


def attention(evergrant: Evergrant) -> list[tuple[str, str]]:
    return [(each["what"], each["next"]) for each in evergrant("status", "--json").json["attention"]]


def findings(evergrant: Evergrant, *words: str) -> list[tuple[str, str]]:
    done = evergrant(*words, "--json")
    assert done.code == 1, done.err
    return [(each["check"], each["finding"]) for each in done.lines]


@pytest.fixture
def read_only(temple: Evergrant, sql: Any) -> Evergrant:
    """`temple` with a grant, on a database that has become read-only; beat and worker were silent since."""
    temple.take_in("a")
    name = sql("select current_database()")[0][0]
    sql(f"alter database {name} set default_transaction_read_only = on")
    models_database.dispose()
    return temple


def test_a_database_that_is_read_only_is_named_before_the_silence_of_all_others(read_only: Evergrant) -> None:
    first, *others = attention(read_only)
    assert first[0] == "the database is read-only (default_transaction_read_only is on): nothing is sent"
    assert "turn default_transaction_read_only off" in first[1]
    assert [step for what, step in others if "is alive" in what] == [
        "see to the database first: no process can say there that it lives"
    ] * 2
    for words in (("db", "check"), ("doctor",)):
        assert findings(read_only, *words)[0] == ("writes", first[0])
    told = read_only("explain", "a", "--json").json
    assert (told["cause"], told["command"]) == ("database_takes_no_write", "evergrant db check")
    assert told["hopeless"]


def test_a_role_that_may_only_read_is_no_fault_of_the_database(temple: Evergrant, sql: Any) -> None:
    name, role = sql("select current_database(), current_user")[0]
    sql(f"alter role {role} in database {name} set default_transaction_read_only = on")
    models_database.dispose()
    assert "read-only" not in str(attention(temple))


@pytest.fixture
def of_its_own(evergrant: Evergrant, own_engines: Engines) -> Evergrant:
    """The CLI on a server of this test alone, with a grant."""
    url = SecretStr(own_engines.postgres.url)
    settings.adopt(settings.current().model_copy(update={"database_url": url}))
    assert evergrant("db", "upgrade").code == 0
    command = "clients add temple --provider event-temple --client-id id-1 --client-secret-file -"
    assert evergrant(*command.split(), stdin="hush\n").code == 0
    evergrant.take_in("a")
    return evergrant


def test_a_database_that_commits_nothing_is_named_before_the_silence_of_all_others(
    of_its_own: Evergrant, own_engines: Engines
) -> None:
    miss_a_standby(own_engines)
    first, *others = attention(of_its_own)
    assert first[0] == COMMITS_NOTHING
    assert "see that PostgreSQL's disk has room and is not frozen" in first[1]
    assert [what for what, _ in others if "is alive" in what]
    assert findings(of_its_own, "doctor")[0] == ("writes", COMMITS_NOTHING)
    assert of_its_own("explain", "a", "--json").json["cause"] == "database_takes_no_write"


def test_where_beat_and_worker_live_status_asks_for_no_commit(of_its_own: Evergrant, own_engines: Engines) -> None:
    with models_database.transaction() as connection:
        for pid, kind in enumerate(("beat", "worker")):
            connection.execute(text(ALIVE), {"kind": kind, "pid": pid, "environment": "test", "keys": ["r1", "a1"]})
    miss_a_standby(own_engines)
    assert of_its_own("status", "--json").json["unwritable"] is None


def miss_a_standby(engines: Engines) -> None:
    """From now on a commit waits for a standby that there is not, for as long as one would at a frozen disk."""
    with engines.postgres.connect() as connection:
        connection.execute("alter system set synchronous_standby_names = 'missing'")
        connection.execute("select pg_reload_conf()")
    with engines.postgres.connect() as connection:  # begun after the postmaster has read it
        assert connection.execute("show synchronous_standby_names").fetchone() == ("missing",)


def test_a_database_that_never_answers_is_told_in_one_sentence(
    of_its_own: Evergrant, own_engines: Engines, frozen: Callable[[list[int]], None]
) -> None:
    with own_engines.postgres.connect() as connection:
        folder = connection.execute("select current_setting('data_directory')").fetchall()[0][0]
        pids = connection.execute("select pid from pg_stat_activity where pid <> pg_backend_pid()").fetchall()
    frozen([int((Path(str(folder)) / "postmaster.pid").read_text().split()[0]), *(int(str(pid)) for (pid,) in pids)])
    done = of_its_own("status", "--json")
    assert (done.code, done.error) == (75, "database_silent")
    assert "has not answered for 15 s, and the database commits nothing" in done.err


@pytest.fixture
def frozen() -> Iterator[Callable[[list[int]], None]]:
    """Freeze processes until the test is over."""
    held: list[int] = []

    def freeze(pids: list[int]) -> None:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
            held.append(pid)

    yield freeze
    for pid in held:
        os.kill(pid, signal.SIGCONT)


def test_a_replica_is_named_first_and_where_to_go_instead(temple: Evergrant, sql: Any) -> None:
    """`database_state` asks `pg_is_in_recovery` itself, so it stands in for a replica here."""
    sql("""create or replace function evergrant.database_state(environment text default null) returns text
        language sql as $$ select 'standby' $$""")
    first = attention(temple)[0]
    assert first == (
        "this database is a replica: it answers, and takes no work",
        "name the primary in EVERGRANT_DATABASE_URL",
    )


def test_a_login_that_may_open_one_connection_more_only_is_no_fault_of_the_database(
    temple: Evergrant, sql: Any
) -> None:
    """Whether anything is committed is asked on a connection of its own, beside that of whoever reads."""
    name, before = f"login_{secrets.token_hex(6)}", settings.current()
    temple("db", "roles", "--apply")
    sql(f"create role {name} login password 'hush' in role evergrant_admin connection limit 1")
    url = models_database.engine().url.set(drivername="postgresql", username=name, password="hush")
    try:
        settings.adopt(before.model_copy(update={"database_url": SecretStr(url.render_as_string(hide_password=False))}))
        told = [what for what, _ in attention(temple)]
        assert told[0].startswith("no beat is alive")
        assert "commits nothing" not in str(told)
    finally:
        settings.adopt(before)
        models_database.dispose()
        with models_database.transaction() as connection:
            connection.exec_driver_sql(f"drop role {name}")
