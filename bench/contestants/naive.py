"""The job that most teams write: worker/demo/naive.py itself, with a pool of the kind and size asked for.

Its scan is called once a round instead of by its beat, so that tasks are queued once: in its favour. Where tasks failed
it is called again after five seconds without a refresh.
"""

import json
import sys
import time
from pathlib import Path

from bench.contestants.contestant import Contestant, ref_of
from bench.provider import refresh_token
from bench.stage import Provider, Stage

CELERY = str(Path(sys.executable).with_name("celery"))
APP = "worker.demo.naive"


class Naive(Contestant):
    """A Celery task a token."""

    def __init__(self, stage: Stage, provider: Provider, count: int, *, pool: str, concurrency: int) -> None:
        super().__init__(stage, provider, count)
        self.pool = pool
        self.concurrency = concurrency
        self.name = f"naive job, {pool} -c{concurrency}"
        self.env = {
            "NAIVE_PROVIDER_URL": provider.url,
            "NAIVE_CLIENT_ID": "bench",
            "NAIVE_CLIENT_SECRET": "secret",
            "NAIVE_DATABASE_URL": stage.database_url.replace("postgresql://", "postgresql+psycopg://"),
            "NAIVE_BROKER_URL": stage.engines.valkey.url_of(1),
            "NAIVE_MARGIN_SECONDS": "600",
            # A connection is held while the provider is asked: each task needs its own, or the pool is the limit.
            # PostgreSQL has a hundred; ten more may overflow.
            "NAIVE_POOL_SIZE": "1" if pool == "prefork" else str(min(concurrency, 60)),
        }

    def prepare(self) -> None:
        file = self.stage.home / "naive.jsonl"
        rows = (
            {
                "ref": ref_of(index),
                "status": "active",
                "access_token": "none",
                "refresh_token": refresh_token(index, 0),
                "created_at": int(time.time()),
                "expires_in": 7200,
            }
            for index in range(self.count)
        )
        file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        self.stage.sql("drop schema if exists naive cascade")
        loading = self.stage.python("load", APP, "load", str(file), env=self.env)
        loading.wait(300)

    def start(self) -> None:
        options = [
            f"--pool={self.pool}",
            f"--concurrency={self.concurrency}",
            "--loglevel=INFO",
            "-n",
            "naive@localhost",
        ]
        self.stage.run("naive", [CELERY, "-A", APP, "worker", *options], self.env)
        self.stage.wait_said("naive", "ready.")

    def make_due(self) -> None:
        self.stage.sql("update naive.tokens set expires_at = clock_timestamp()")
        self.stage.sql("vacuum analyze naive.tokens")

    def begin(self) -> None:
        calling = self.stage.run("scan", [CELERY, "-A", APP, "call", "naive.scan"], self.env)
        calling.wait(60)

    def again(self) -> None:
        self.begin()

    def stored(self) -> int:
        rows = self.stage.sql("select count(*) as n from naive.tokens where expires_at > clock_timestamp() + '1 hour'")
        return int(rows[0]["n"])

    def tokens(self) -> dict[int, str]:
        return {int(row["ref"][-7:]): row["refresh_token"] for row in self.stage.sql("select * from naive.tokens")}

    def parts(self) -> dict[str, list[int]]:
        return {"workers": self.stage.pids("naive")}
