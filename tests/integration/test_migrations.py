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
