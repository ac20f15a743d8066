"""Other applications on a whole installation: real worker, beat, broker and provider, and nothing of ours imported."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

import evergrant_client
from tests.acceptance.serving import Serving, serving
from tests.polling import eventually

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def running(shared_servers: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One for all tests of this module, each with grants of its own: to begin takes longer than any of them."""
    with serving(shared_servers, tmp_path_factory.mktemp("applications"), grants=8) as found:
        yield found


def quiet(running: Serving) -> tuple[Any, ...]:
    """What would change if a message had done anything."""
    ledger = [len(running.provider.asked()), running.provider.presented_twice()]
    return *ledger, running.revocations(), running.installation.statuses("app")


def test_an_application_asks_over_the_broker_with_sender_and_by_hand(running: Serving) -> None:
    sender = evergrant_client.sender(running.broker_url)
    sender.send_task("evergrant.request_refresh", ["app-3"], {"client": "app", "colour": "of a later release"})
    sender.send_task("evergrant.request_revocation", ["app-1"], {"reason": "left us", "missing_ok": True})
    by_hand = Celery("billing", broker=running.broker_url, set_as_current=False)
    by_hand.conf.broker_transport_options = {"global_keyprefix": "evergrant:"}
    by_hand.send_task("evergrant.request_refresh", ["app-2"], queue="upkeep")
    eventually(lambda: (running.refreshed("app-2"), running.refreshed("app-3")) == (1, 1), timeout=60)
    eventually(lambda: running.revocations() == {"app-1": "done"}, timeout=60)
    assert (running.refreshed("app-8"), running.provider.presented_twice()) == (0, 0)


def test_forged_duplicated_and_malformed_messages_change_nothing(running: Serving) -> None:
    sender = evergrant_client.sender(running.broker_url)
    grant_id = str(running.installation.rows("select id from evergrant.grants where ref = 'app-4'")[0]["id"])
    before = quiet(running)
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
    asked, twice, revocations, statuses = quiet(running)
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


def test_an_application_reads_a_token_and_survives_its_end(running: Serving) -> None:
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
        running.ready_for_requests()
        # Another program refreshes behind our back, and the successor's first use ends the token that is remembered.
        running.installation.command("grants", "refresh", "app-6", "--wait")
        assert running.provider.opens(running.installation.handed_out()["app-6"]) == 200
        assert use() == "200 3\n"
        application.stdin.close()
        assert application.wait(30) == 0
