"""The migrations make exactly the tables that the models tell of, once, and never under a newer release."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from models import database as models_database
from models import migrations
from models.errors import NewerDatabase

ROOT = Path(__file__).resolve().parents[2]


def test_the_migrations_make_what_the_models_tell(database: Engine) -> None:
    config = migrations.config()
    config.attributes["engine"] = database
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
        new = "select distinct refusals, refused_since from evergrant.grants"
        assert [tuple(row) for row in connection.execute(text(new))] == [(0, None)]
        new = "select refused_since, refused_grant_ids, witness_at, witness_grant_ids from evergrant.valves"
        assert [tuple(row) for row in connection.execute(text(new))] == [(None, [], None, [])]
    engine.dispose()
