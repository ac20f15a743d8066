"""docs/howto/switch-from-your-own-job.md, carried out line by line.

The job of worker/demo/naive.py, in a database of its own, is the old one; the provider ends a grant whose old refresh
token comes again.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.acceptance.installation import Installation
from tests.acceptance.programs import ROOT, Running, environment
from tests.acceptance.providers import Simulated, simulated
from tests.other_languages import postgres_environment
from tests.polling import eventually

PAGE = (ROOT / "docs" / "howto" / "switch-from-your-own-job.md").read_text(encoding="utf-8")
CUSTOMERS = 3
LIFETIME = 24
MARGIN = 20  # the old job refreshes whatever is older than four seconds


class OldJob:
    """The job that is left: its table, its worker and its beat."""

    def __init__(self, folder: Path, *, url: str, broker_url: str, provider: Simulated) -> None:
        self.url = url
        self._folder = folder
        self._running: list[Running] = []
        self._env = {
            "NAIVE_DATABASE_URL": url.replace("postgresql://", "postgresql+psycopg://"),
            "NAIVE_BROKER_URL": broker_url,
            "NAIVE_PROVIDER_URL": provider.url,
            "NAIVE_CLIENT_ID": provider.client_id,
            "NAIVE_CLIENT_SECRET": provider.secret,
            "NAIVE_SCAN_SECONDS": "1",
            "NAIVE_MARGIN_SECONDS": str(MARGIN),
        }

    def load(self, rows: list[dict[str, Any]]) -> None:
        file = self._folder / "table.jsonl"
        file.write_text("".join(json.dumps(row | {"status": "active"}) + "\n" for row in rows), encoding="utf-8")
        argv = [sys.executable, "-m", "worker.demo.naive", "load", str(file)]
        subprocess.run(argv, cwd=ROOT, env=environment(self._env), check=True, timeout=60)

    def start(self) -> None:
        beat = ("beat", "--loglevel=INFO", "-s", str(self._folder / "schedule"))
        worker = ("worker", "--loglevel=INFO", "--pool=threads", "-c", "2", "-n", "old@localhost")
        for arguments in (worker, beat):
            argv = [sys.executable, "-m", "worker.demo.naive", *arguments]
            log = self._folder / f"old-{arguments[0]}.log"
            self._running.append(Running(arguments[0], argv, env=self._env, log=log))

    def works(self) -> bool:
        """Whether it has scanned its table since it was started."""
        return all(each.said("naive.scan") for each in self._running)

    def stop(self) -> None:
        """Beat first, both in peace."""
        while self._running:
            self._running.pop().stop()

    def tokens(self) -> dict[str, tuple[str, str | None]]:
        """What its table holds: status and refresh token, by ref."""
        with psycopg.connect(self.url) as connection:
            rows = connection.execute("select ref, status, refresh_token from tokens").fetchall()
        return {ref: (status, token) for ref, status, token in rows}


@pytest.fixture
def provider() -> Iterator[Simulated]:
    with simulated("family", lifetime=LIFETIME) as found:
        yield found


@pytest.fixture
def old_job(tmp_path: Path, shared_servers: Any, broker_url: str, provider: Simulated) -> Iterator[OldJob]:
    name = f"old_job_{os.getpid()}_{time.monotonic_ns()}"
    with shared_servers.postgres.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}")
        connection.execute(f"ALTER DATABASE {name} SET search_path = naive")  # where that job has its table
    job = OldJob(tmp_path, url=shared_servers.postgres.url_of(name), broker_url=broker_url, provider=provider)
    yield job
    job.stop()
    with shared_servers.postgres.connect() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


class Reader:
    """Whoever follows the page: types what stands in a step, in one folder."""

    def __init__(self, folder: Path, installation: Installation, old_job: OldJob) -> None:
        self.folder = folder / "reader"
        (folder / "reader").mkdir()
        program = self.folder / "evergrant"
        program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m worker.cli "$@"\n', encoding="utf-8")
        program.chmod(0o755)
        path = f"{self.folder}:{postgres_environment(old_job.url)['PATH']}"
        self._env = environment({**installation.env, "OLD_DATABASE_URL": old_job.url, "PATH": path})

    def follow(self, step: str) -> str:
        """Carry out every command of a step; returns what they printed."""
        (text,) = re.findall(rf"^## {re.escape(step)}.*?\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
        blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        script = "set -eu\n" + "".join(blocks)
        command = ["/bin/sh", "-c", script]
        done = subprocess.run(
            command, cwd=self.folder, env=self._env, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, (step, done.stdout, done.stderr)
        return done.stdout


def test_grants_go_over_to_evergrant_and_back_and_never_have_two_keepers(
    tmp_path: Path, installation: Installation, old_job: OldJob, provider: Simulated
) -> None:
    installation.register("temple", provider.registration(), provider.secret)
    old_job.load(provider.mint(CUSTOMERS))
    old_job.start()
    for start in (installation.worker, installation.beat):
        start(wait=False)
    eventually(lambda: len(provider.refreshes()) == CUSTOMERS)
    reader = Reader(tmp_path, installation, old_job)

    assert f"{CUSTOMERS} grants" in reader.follow("1.")
    assert installation.statuses("temple") == {}
    old_job.stop()
    assert f"UPDATE {CUSTOMERS}" in reader.follow("2.")
    # A copy of the old job that everybody forgot: it scans on until the end.
    asked = len(provider.asked())
    old_job.start()
    reader.follow("3.")
    assert installation.statuses("temple") == {"paused": CUSTOMERS}
    assert re.search(rf"moved +\| +{CUSTOMERS} +\| +0\n", reader.follow("4."))
    eventually(old_job.works, timeout=60)
    assert len(provider.asked()) == asked

    reader.follow("6.")
    eventually(lambda: set(generations(installation)) <= set(range(2, 100)), timeout=60)
    assert set(old_job.tokens().values()) == {("moved", None)}
    assert not list(reader.folder.glob("*.jsonl"))

    assert f"INSERT 0 {CUSTOMERS}" in reader.follow("Back")
    assert installation.statuses("temple") == {"paused": CUSTOMERS}
    handed, kept = old_job.tokens(), generations(installation)
    eventually(lambda: handed.items().isdisjoint(old_job.tokens().items()))
    assert generations(installation) == kept
    assert {status for status, _ in old_job.tokens().values()} == {"active"}
    assert (provider.presented_twice(), provider.lost()) == (0, [])


def generations(installation: Installation) -> list[int]:
    return [row["generation"] for row in installation.listed("grants", "list", "--client", "temple")]
