"""Other applications on a whole installation: real worker, beat, broker and provider, and nothing of ours imported."""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from psycopg.conninfo import conninfo_to_dict

import evergrant_client
from tests.acceptance.installation import Installation
from tests.acceptance.providers import Simulated, simulated
from tests.polling import eventually

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Running:
    """An installation with one client whose grants are due in an hour."""

    installation: Installation
    provider: Simulated

    @property
    def broker_url(self) -> str:
        return self.installation.env["EVERGRANT_BROKER_URL"]

    def refreshed(self, ref: str) -> int:
        return len(self.provider.refreshes().get(ref, []))

    def revocations(self) -> dict[str, str]:
        return {row["ref"]: row["status"] for row in self.installation.listed("revocations", "list")}

    def quiet(self) -> tuple[Any, ...]:
        """What would change if a message had done anything."""
        ledger = [len(self.provider.asked()), self.provider.presented_twice()]
        return *ledger, self.revocations(), self.installation.statuses("app")

    def ready_for_wishes(self) -> None:
        """Let the token sets be old enough to be refreshed early."""
        self.installation.rows("update evergrant.grants set refreshed_at = refreshed_at - interval '1 hour'")


def as_login(installation: Installation, role: str) -> None:
    """Let what is started from now on connect as a login that has this role alone."""
    parts = conninfo_to_dict(installation.database_url)
    name, password = f"{parts['dbname']}_{role}", secrets.token_hex(8)
    installation.rows(f"create role {name} login password '{password}' in role {role}")
    address = f"postgresql://{name}:{password}@/{parts['dbname']}?host={parts['host']}"
    installation.env["EVERGRANT_DATABASE_URL"] = address + (f"&port={parts['port']}" if "port" in parts else "")


@pytest.fixture(scope="module")
def running(shared_servers: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One for all tests of this module, each with grants of its own: to begin takes longer than any of them.

    Worker and beat, and the operator's commands, have no more rights than `evergrant db roles` gives them.
    """
    name = f"applications_{os.getpid()}_{time.monotonic_ns()}"
    with shared_servers.postgres.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}")
    with shared_servers.valkey.connect(shared_servers.worker_number) as broker:
        broker.flushdb()
    installation = Installation.made(
        tmp_path_factory.mktemp("applications") / "installation",
        database_url=shared_servers.postgres.url_of(name),
        broker_url=shared_servers.valkey.url_of(shared_servers.worker_number),
    )
    installation.command("db", "roles", "--apply")
    with simulated("on_use", lifetime=7200) as provider:
        as_login(installation, "evergrant_worker")
        installation.worker()
        installation.beat()
        as_login(installation, "evergrant_admin")
        installation.register("app", provider.registration(), provider.secret)
        installation.import_grants("app", provider.mint(8, "app-"))
        found = Running(installation, provider)
        found.ready_for_wishes()
        yield found
        installation.close()
    with shared_servers.postgres.connect() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        for (login,) in connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE %s", [f"{name}_%"]):
            connection.execute(f"DROP ROLE {login}")


def test_an_application_asks_over_the_broker_with_sender_and_by_hand(running: Running) -> None:
    sender = evergrant_client.sender(running.broker_url)
    sender.send_task("evergrant.request_refresh", ["app-3"], {"client": "app", "colour": "of a later release"})
    sender.send_task("evergrant.request_revocation", ["app-1"], {"reason": "left us", "missing_ok": True})
    by_hand = Celery("billing", broker=running.broker_url, set_as_current=False)
    by_hand.conf.broker_transport_options = {"global_keyprefix": "evergrant:"}
    by_hand.send_task("evergrant.request_refresh", ["app-2"], queue="upkeep")
    eventually(lambda: (running.refreshed("app-2"), running.refreshed("app-3")) == (1, 1), timeout=60)
    eventually(lambda: running.revocations() == {"app-1": "done"}, timeout=60)
    assert (running.refreshed("app-8"), running.provider.presented_twice()) == (0, 0)


def test_forged_duplicated_and_malformed_messages_change_nothing(running: Running) -> None:
    sender = evergrant_client.sender(running.broker_url)
    grant_id = str(running.installation.rows("select id from evergrant.grants where ref = 'app-4'")[0]["id"])
    before = running.quiet()
    for arguments in ([], [None], [["app-4"]], [{"ref": "app-4"}], ["nobody"], ["app-4\x00"], ["app-4"] * 9):
        sender.send_task("evergrant.request_refresh", arguments)
        sender.send_task("evergrant.request_revocation", arguments[:1] if arguments[:1] != ["app-4"] else ["nobody"])
    for job in ([[grant_id, 0]], [[grant_id, 7]], [[grant_id]], [["no id", 1]], "app-4", None, [[grant_id, "x"]]):
        for task in ("evergrant.refresh", "evergrant.revoke"):
            sender.send_task(task, [job])
            sender.send_task(task, [job, job], {"force": True})
    sender.send_task("evergrant.no_such_task", ["app-4"])
    sender.send_task("os.system", ["true"])
    for _ in range(10):
        sender.send_task("evergrant.request_refresh", ["app-5"])
    eventually(lambda: running.refreshed("app-5") == 1, timeout=60)
    asked, twice, revocations, statuses = running.quiet()
    assert (asked, twice, revocations, statuses) == (before[0] + 1, 0, before[2], before[3])
    assert all(process.said("") for process in running.installation.processes)  # all alive


PROGRAM = """
import sys, requests, evergrant_client
evergrant = evergrant_client.Evergrant()
auth = evergrant_client.requests.auth(evergrant, "app-6", org="org-1")
for line in sys.stdin:
    print(requests.get(sys.argv[1], auth=auth, timeout=60).status_code, evergrant.access_token("app-6").generation)
    sys.stdout.flush()
evergrant.close()
"""


def test_an_application_reads_a_token_and_survives_its_end(running: Running) -> None:
    """One that has ended is refreshed first; one that the API refuses, though it should live, is handed off."""
    environment = {**os.environ, **running.installation.env, "PYTHONPATH": str(ROOT / "client")}
    environment["EVERGRANT_CLIENT_DSN"] = running.installation.database_url
    command = [sys.executable, "-c", PROGRAM, running.provider.url + running.provider.api]
    running.installation.rows("update evergrant.grants set access_expires_at = clock_timestamp() where ref = 'app-6'")
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as application:
        assert application.stdin is not None
        assert application.stdout is not None

        def use() -> str:
            print(file=application.stdin)
            assert application.stdout is not None
            return application.stdout.readline()

        assert [use(), use()] == ["200 2\n"] * 2
        running.ready_for_wishes()
        # Another program refreshes behind our back, and the successor's first use ends the token that is remembered.
        running.installation.command("grants", "refresh", "app-6", "--wait")
        assert running.provider.opens(running.installation.handed_out()["app-6"]) == 200
        assert use() == "200 3\n"
        application.stdin.close()
        assert application.wait(30) == 0
