"""A worker that cannot work ends and says why; it does not go on half."""

import json
from pathlib import Path

import psycopg
from psycopg import sql

from tests.acceptance.installation import Installation


def test_a_worker_refuses_a_server_that_may_forget_what_it_has_committed(installation: Installation) -> None:
    with psycopg.connect(installation.env["EVERGRANT_DATABASE_URL"], autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("alter database {} set synchronous_commit = off").format(name))
    worker = installation.worker(wait=False)
    assert worker.wait(60) != 0
    assert "synchronous_commit" in _reason(worker.log)


def _reason(log: Path) -> str:
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return str(next(line["reason"] for line in lines if line["event"] == "worker.cannot_start"))
