"""A worker that cannot work ends and says why; it does not go on half."""

import json
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.acceptance.installation import Installation


def test_a_worker_refuses_a_server_that_may_forget_what_it_has_committed(installation: Installation) -> None:
    with psycopg.connect(installation.env["EVERGRANT_DATABASE_URL"], autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("alter database {} set synchronous_commit = off").format(name))
    installation.env["EVERGRANT_JOURNALS_HOURS"] = "72"
    worker = installation.worker(wait=False)
    assert worker.wait(60) != 0
    assert "synchronous_commit" in _reason(worker.log, "worker.cannot_start")
    told = "EVERGRANT_JOURNALS_HOURS is no setting and is ignored: is EVERGRANT_JOURNAL_HOURS meant?"
    assert _reason(worker.log, "settings.unknown_variable") == told


def test_a_worker_refuses_a_pool_of_processes_for_those_would_refresh_nothing(installation: Installation) -> None:
    worker = installation.worker("--pool", "processes", wait=False)  # `prefork` is read as: none was chosen
    assert worker.wait(60) == 1
    assert "--pool threads" in _reason(worker.log, "worker.cannot_start")


@pytest.mark.parametrize("ring", ["refresh", "access"])
def test_a_worker_refuses_to_work_without_one_of_the_rings_for_it_could_not_store_what_it_is_given(
    installation: Installation, ring: str
) -> None:
    variable = f"EVERGRANT_{ring.upper()}_TOKEN_KEYS"
    del installation.env[f"{variable}_FILE"]
    worker = installation.worker(wait=False)
    assert worker.wait(60) == 1
    told = f"A worker needs the {ring} key ring: set {variable}_FILE to it"
    assert _reason(worker.log, "worker.cannot_start") == told
    assert "Traceback" not in worker.log.read_text(encoding="utf-8")
    assert installation.rows("select 1 as n from evergrant.journals") == []


def test_a_worker_takes_a_pool_that_works_in_its_own_process(installation: Installation) -> None:
    assert installation.worker("--pool", "solo").stop() == 0


def _reason(log: Path, event: str) -> str:
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return str(next(line["reason"] for line in lines if line["event"] == event))
