"""In a database that the next release has upgraded processes go on; commands wait for their release."""

import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

import settings
from models import process
from models.database import transaction
from models.states.process import ProcessKind
from tasks.runtime import presence
from tests.integration.cli.evergrant import Evergrant
from worker.cli.processes import refuse_a_database_that_does_not_fit
from worker.embedded import supervisor
from worker.embedded.engines import Engines


def test_a_process_starts_there_and_says_so(evergrant: Evergrant, sql: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A worker that died in the midst of a rolling upgrade was refused, and did not come back."""
    refuse_a_database_that_does_not_fit()
    assert capsys.readouterr().err == ""
    sql("update evergrant.alembic_version set version_num = '9999'")
    refuse_a_database_that_does_not_fit()
    assert "revision 9999, of a newer release" in capsys.readouterr().err


def test_a_process_that_lives_there_is_healthy(evergrant: Evergrant, sql: Any) -> None:
    with transaction() as connection:
        process.see(connection, presence.of_process(uuid4(), ProcessKind.WORKER, environment=None))
    sql("update evergrant.alembic_version set version_num = '9999'")
    assert evergrant("worker", "--check").code == 0
    assert evergrant("beat", "--check", "--json").error == "not_healthy"


def test_a_database_that_lacks_our_tables_is_refused_as_ever(evergrant: Evergrant, sql: Any) -> None:
    sql("update evergrant.alembic_version set version_num = '0001'")
    for command in ("worker", "beat", "web", "worker --check"):
        done = evergrant(*command.split(), "--json")
        assert (done.code, done.error) == (1, "schema_behind"), command


def test_what_runs_everything_starts_there_too(evergrant: Evergrant, sql: Any, tmp_path: Path) -> None:
    """`up` of the release before could not be started again, once the new one had been tried."""
    sql("update evergrant.alembic_version set version_num = '9999'")
    current = settings.current().model_copy(update={"broker_url": SecretStr("redis://127.0.0.1:1"), "home": tmp_path})
    supervisor.prepare(current, Engines(tmp_path, postgres=False, valkey=False, log=sys.stderr))
    assert sql("select version_num from evergrant.alembic_version") == [("9999",)]
