"""The engines that all test processes share come once and leave nothing behind."""

import subprocess
import sys
from pathlib import Path
from typing import IO

import psycopg
import pytest

import settings
from tests.conftest import SharedServers
from tests.databases import Databases
from tests.polling import eventually
from worker.embedded.home import Home
from worker.embedded.lock import holder

ROOT = Path(__file__).resolve().parents[2]
USER = """
import sys, time, pathlib
from tests import shared_engines
with shared_engines.joined(pathlib.Path(sys.argv[1])) as home:
    print(home, flush=True)
    time.sleep(60)
"""


def a_user(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", USER, str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline().strip()


def test_each_test_has_a_new_database_with_the_tables(adopted: settings.Settings, postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        row = connection.execute("SELECT count(*) FROM evergrant.grants").fetchone()
    assert row == (0,)


@pytest.fixture
def of_our_own(shared_servers: SharedServers) -> Databases:
    """Databases that no other test borrows."""
    return Databases(shared_servers.postgres, f"own_{shared_servers.worker_number}")


def carry_out(url: str, *statements: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        done = [connection.execute(statement.encode()) for statement in statements]
        return done[-1].fetchall() if done[-1].description else []


ADD_JOURNAL = "insert into evergrant.journals (host, process) values ('here', '1') returning id"


def test_a_database_that_is_lent_again_has_the_rows_and_numbers_that_it_began_with(of_our_own: Databases) -> None:
    chores = "select * from evergrant.chores order by 1"
    with of_our_own.lent() as first:
        before = carry_out(first, chores)
        assert before
        carry_out(first, ADD_JOURNAL, "delete from evergrant.chores where name = 'erase'")
    with of_our_own.lent() as again:
        assert again == first
        assert carry_out(again, chores) == before
        assert carry_out(again, "select count(*) from evergrant.journals") == [(0,)]
        assert carry_out(again, ADD_JOURNAL) == [(1,)]


def test_whoever_forgot_to_leave_a_lent_database_is_sent_away(of_our_own: Databases) -> None:
    with of_our_own.lent() as first:
        left = psycopg.connect(first)
        left.execute("lock table evergrant.grants")
    with of_our_own.lent() as again:
        assert again == first
        with pytest.raises(psycopg.OperationalError):
            left.execute("select 1")
    left.close()


ANOTHER_FUNCTION = """
create or replace function evergrant.database_state(environment text default null) returns text
language sql as $$ select 'standby' $$
"""
FIVE_MEGABYTES = """
insert into evergrant.journals (host, process) select repeat('x', 1000), n::text from generate_series(1, 5000) n
"""


@pytest.mark.parametrize(
    "change",
    [
        "alter table evergrant.grants add column strange text",
        "create table evergrant.strange (id int)",
        ANOTHER_FUNCTION,
        "grant select on evergrant.grants to public",
        "drop view evergrant.access_tokens cascade",
        "alter database {name} set default_transaction_read_only = off",
        FIVE_MEGABYTES,
    ],
)
def test_a_database_in_which_more_has_changed_than_a_few_rows_is_lent_to_nobody(
    of_our_own: Databases, change: str
) -> None:
    with of_our_own.lent() as first:
        ((name,),) = carry_out(first, "select current_database()")
        carry_out(first, change.format(name=name))
    with of_our_own.lent() as another:
        assert another != first
        assert carry_out(another, f"select 1 from pg_database where datname = '{name}'") == []  # noqa: S608


def test_the_engines_are_shared_and_end_after_the_last_user_was_killed(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with a_user(tmp_path) as first, a_user(tmp_path) as second:
        assert line(first.stdout) == line(second.stdout) == str(home.path)
        keeper = holder(home)
        first.kill()
        first.wait(10)
        with a_user(tmp_path) as third:
            assert line(third.stdout) == str(home.path)
            assert holder(home) == keeper
            third.kill()
        second.kill()
    eventually(lambda: not home.path.exists())
    eventually(lambda: not Path(f"/proc/{keeper}").exists())
