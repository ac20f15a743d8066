"""The migrations make exactly the tables that the models tell of, once, and never under a newer release."""

import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from models import database as models_database
from models import migrations
from models.errors import NewerDatabase
from tests import statements

ROOT = Path(__file__).resolve().parents[2]


def test_the_migrations_make_what_the_models_tell(database: Engine) -> None:
    config = migrations.config()
    config.attributes["engine"] = database
    config.stdout = sys.stdout  # alembic keeps the one that was there when it was imported: another test's, closed
    command.check(config)


def test_the_newest_revision_is_the_one_that_processes_look_for() -> None:
    assert ScriptDirectory.from_config(migrations.config()).get_current_head() == migrations.HEAD


def test_two_upgrades_at_once_make_the_tables_once(empty_postgres_url: str) -> None:
    # Processes, not threads: alembic's context is one a process.
    program = "import sys; from models import migrations; migrations.upgrade(sys.argv[1])"
    upgrades = [subprocess.Popen([sys.executable, "-c", program, empty_postgres_url], cwd=ROOT) for _ in range(2)]
    assert [upgrade.wait(60) for upgrade in upgrades] == [0, 0]
    engine = models_database.connect(empty_postgres_url)
    with engine.connect() as connection:
        assert migrations.current(connection) == migrations.HEAD
    engine.dispose()


def test_a_database_of_a_newer_release_is_left_alone(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text("update evergrant.alembic_version set version_num = '9999'"))
    with pytest.raises(NewerDatabase) as error:
        migrations.upgrade()
    assert error.value.revision == "9999"


def test_nothing_of_ours_lies_outside_the_schema(database: Engine) -> None:
    with database.connect() as connection:
        outside = connection.execute(
            text("select count(*) from pg_class where relnamespace = 'public'::regnamespace")
        ).scalar()
    assert outside == 0


FILLED = text("""
with client as (
    insert into evergrant.clients (name, provider, client_id, rotation, burst, attempt_lease)
    values ('temple', 'generic', 'id', 'family', 20, '60 seconds') returning id
),
valve as (insert into evergrant.valves (client_id, strike_grant_ids) select id, array[gen_random_uuid()] from client)
insert into evergrant.grants (id, client_id, ref, status, generation, due_at, failures, last_error_code, last_error_at)
select gen_random_uuid(), client.id, 'customer-' || n, 'active', n, now(), n % 3, 'unauthorized_client', now()
from client, generate_series(1, 1000) n
""")
SEEN_BY_0001 = text("""
select array_agg((g.id, g.ref, g.status, g.generation, g.due_at, g.failures, g.xmin)::text order by g.id)
from evergrant.grants g
""")


def test_a_filled_database_of_the_release_before_is_upgraded_without_touching_a_row(empty_postgres_url: str) -> None:
    engine = models_database.connect(empty_postgres_url)
    config = migrations.config()
    config.attributes["engine"] = engine
    command.upgrade(config, "0001")
    with engine.begin() as connection:
        connection.execute(FILLED)
    with engine.connect() as connection:
        before = connection.execute(SEEN_BY_0001).scalar_one()
    command.upgrade(config, "head")
    with engine.connect() as connection:
        assert connection.execute(SEEN_BY_0001).scalar_one() == before
        new = "select distinct refusals, refused_since, refused_code from evergrant.grants"
        assert [tuple(row) for row in connection.execute(text(new))] == [(0, None, None)]
    engine.dispose()


# As 0.1.0 asks; psycopg prepares what it is asked often, and a prepared statement bears no column more in its answer.
OF_THE_RELEASE_BEFORE = [
    """select v.*, c.rate_per_minute, c.burst, c.name, clock_timestamp() as at
    from evergrant.valves v join evergrant.clients c on c.id = v.client_id
    where v.client_id = any (cast(%s as bigint[])) order by v.client_id for no key update of v""",
    """with started as (
        update evergrant.grants g set claim_no = g.claim_no + 1 where g.client_id = any (cast(%s as bigint[]))
        returning g.*
    ) select s.id as grant_id, s.client_id, s.ref, s.status, s.generation from started s""",
]


def test_prepared_statements_of_the_release_before_outlive_the_upgrade(empty_postgres_url: str) -> None:
    engine = models_database.connect(empty_postgres_url)
    config = migrations.config()
    config.attributes["engine"] = engine
    command.upgrade(config, "0001")
    with engine.begin() as connection:
        connection.execute(FILLED)
    with closing(psycopg.connect(empty_postgres_url, autocommit=True)) as running:
        for statement in OF_THE_RELEASE_BEFORE:
            running.execute(statement, [[1]], prepare=True)
        command.upgrade(config, "head")
        for statement in OF_THE_RELEASE_BEFORE:
            assert running.execute(statement, [[1]], prepare=True).fetchall()
    engine.dispose()


def test_no_statement_of_ours_answers_with_all_columns_of_a_table_so_that_the_next_migration_may_add_one() -> None:
    """What stands inside of it, in a `with` or a `returning`, is planned anew, and answers nobody."""
    found = {each.name: each.text for each in statements.every()}
    greedy = [name for name, sql in found.items() if re.search(r"(?m)^select\b[^()]*?\b\w+\.\*", sql)]
    assert greedy == []
