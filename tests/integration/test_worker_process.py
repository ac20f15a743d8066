"""A process that starts as a worker does carries out every task; one that has started nothing says so."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from simulator.control import SimulatorControl
from tasks import upkeep
from tasks.runtime import runtime
from tasks.settling.settle import journal_answers, settle
from tests.harness import Harness, message
from tests.integration.revoking import ORG, client_of, mint

NOW, LATER = timedelta(0), timedelta(hours=1)
ROOT = Path(__file__).resolve().parents[2]
SENTENCE = str(runtime.NotStarted())
NEED_THE_RUNTIME = {
    "evergrant.exchange",
    "evergrant.refresh",
    "evergrant.revoke",
    "evergrant.upkeep erase",
    "evergrant.upkeep read_notices",
}

# Reads messages, each with the name that it is told by, and tells how each ended; "DONE" where it raised nothing.
WORKER = """
import json, os, sys
from celery import signals
from worker.celery import app
from tasks.runtime import runtime

def ended(messages):
    told = {}
    for name, task, named in messages:
        result = app.tasks[task].apply(kwargs=named)
        told[name] = "DONE" if result.successful() else str(result.result)
    return told

def ended_in_a_child(messages):
    reading, writing = os.pipe()
    if os.fork() == 0:
        told = ended(messages)
        runtime.stop()
        runtime.close()
        os.write(writing, json.dumps(told).encode())
        os._exit(0)
    os.wait()
    return json.loads(os.read(reading, 65536))

app.loader.import_default_modules()
given = json.load(sys.stdin)
told = {"known": sorted(name for name in app.tasks if name.startswith("evergrant."))}
if given["starts"]:
    signals.worker_ready.send(sender=None)
    told["child"] = ended_in_a_child(given["in_child"])
told["worker"] = ended(given["messages"])
signals.worker_shutting_down.send(sender=None)
signals.worker_shutdown.send(sender=None)
print("told:" + json.dumps(told))
"""

Message = tuple[str, str, dict[str, Any]]


def carried_out(harness: Harness, messages: list[Message], *, starts: bool) -> dict[str, Any]:
    """What a worker process makes of messages; a child that it forks gets those that need no database."""
    given = {"starts": starts, "messages": messages, "in_child": [each for each in messages if _is_sending(each)]}
    done = subprocess.run(
        [sys.executable, "-c", WORKER],
        input=json.dumps(given),
        env=_environment(harness),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.rpartition("told:")[2])
    return told


def _is_sending(message: Message) -> bool:
    """Threads of the parent may hold locks of the engine's at the fork, and these need none."""
    return message[1] in ("evergrant.refresh", "evergrant.revoke")


def _environment(harness: Harness) -> dict[str, str]:
    chosen = harness.settings
    assert chosen.database_url is not None
    assert chosen.refresh_token_keys is not None
    assert chosen.access_token_keys is not None
    return {
        "PYTHONPATH": str(ROOT),
        "PATH": "/usr/bin:/bin",
        "EVERGRANT_ENVIRONMENT": "test",
        "EVERGRANT_HOME": str(chosen.home),
        "EVERGRANT_DATABASE_URL": chosen.database_url.get_secret_value(),
        "EVERGRANT_BROKER_URL": "redis://127.0.0.1:1",
        "EVERGRANT_REFRESH_TOKEN_KEYS": chosen.refresh_token_keys.get_secret_value(),
        "EVERGRANT_ACCESS_TOKEN_KEYS": chosen.access_token_keys.get_secret_value(),
    }


def messages_of(harness: Harness, client: int) -> list[Message]:
    """Of each task one that has something to do, for the grants `due`, `left`, `asked` and `leaves`; every chore.

    But of the exchange one of a visit that is nobody's: the whole way is tried in acceptance/test_connecting.py.
    """
    harness.run("select evergrant.request_revocation('left')")
    claimed = harness.claim(client)
    revocations, due = message(claimed.revocations), message(claimed.due)
    assert (len(revocations), len(due)) == (1, 1)
    return [
        ("evergrant.refresh", "evergrant.refresh", {"jobs": due, "client_id": client}),
        ("evergrant.revoke", "evergrant.revoke", {"jobs": revocations}),
        ("evergrant.exchange", "evergrant.exchange", {"visit_ids": [str(uuid4())]}),
        ("evergrant.request_refresh", "evergrant.request_refresh", {"ref": "asked"}),
        ("evergrant.request_revocation", "evergrant.request_revocation", {"ref": "leaves"}),
        *((f"evergrant.upkeep {name}", "evergrant.upkeep", {"name": name}) for name in upkeep.CHORES),
    ]


@pytest.fixture
def client(harness: Harness, simulator: SimulatorControl) -> int:
    """A client with four grants, one of them due."""
    client = client_of(harness, simulator)
    for ref, due_in in (("due", NOW), ("left", LATER), ("asked", LATER), ("leaves", LATER)):
        harness.grant(client, ref, pair=mint(simulator, ref), labels=ORG, due_in=due_in)
    return client


def test_a_process_that_starts_as_a_worker_does_carries_out_every_task_and_its_forked_child_none(
    harness: Harness, client: int
) -> None:
    messages = messages_of(harness, client)
    told = carried_out(harness, messages, starts=True)
    assert told["known"] == sorted({task for _, task, _ in messages})
    assert told["child"] == {"evergrant.refresh": SENTENCE, "evergrant.revoke": SENTENCE}
    assert told["worker"] == {name: "DONE" for name, _, _ in messages}
    rows = {row["ref"]: row for row in harness.all("select * from evergrant.grants")}
    assert (rows["due"]["generation"], rows["left"]["status"]) == (2, "revoked")
    asked = harness.all("select grant_id from evergrant.refresh_requests")
    leaving = harness.all("select ref from evergrant.revocations where status <> 'done'")
    assert [row["grant_id"] for row in asked] == [rows["asked"]["id"]]
    assert [row["ref"] for row in leaving] == ["leaves"]


def test_where_nothing_was_started_what_needs_it_says_so_in_a_sentence(harness: Harness, client: int) -> None:
    told = carried_out(harness, messages_of(harness, client), starts=False)
    assert {name for name, how in told["worker"].items() if how != "DONE"} == NEED_THE_RUNTIME
    assert {told["worker"][name] for name in NEED_THE_RUNTIME} == {SENTENCE}


def test_a_process_has_one_runtime_until_it_closes_it(harness: Harness) -> None:
    with started(harness) as first:
        assert runtime.current() is first
        with pytest.raises(runtime.AlreadyStarted):
            runtime.start(harness.settings, journal=journal_answers, settle=settle)
    with pytest.raises(runtime.NotStarted):
        runtime.current()
    with started(harness) as second:
        assert runtime.current() is second is not first


def test_revocations_that_hang_hold_up_nobody_who_waits_in_front_of_a_page(harness: Harness) -> None:
    over, exchanged = threading.Event(), threading.Event()
    with started(harness) as worker:
        for _ in range(harness.settings.concurrency + 1):
            worker.revoke(over.wait)
        worker.exchanges.submit(exchanged.set)
        was_in_time = exchanged.wait(20)
        over.set()
    assert was_in_time


def test_a_worker_that_ends_lets_whoever_waits_for_the_database_give_up(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "WHOLE_DEADLINE", timedelta(seconds=0.2))
    with started(harness) as worker:
        worker.revoke(lambda: worker.giving_up.wait(60))
        begun = time.monotonic()
    assert worker.giving_up.is_set()
    assert time.monotonic() - begun < 60


@contextmanager
def started(harness: Harness) -> Iterator[runtime.Runtime]:
    yield runtime.start(harness.settings, journal=journal_answers, settle=settle)
    runtime.close()
