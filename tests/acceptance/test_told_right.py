"""Told right: real processes break, and `explain` and `status` name what is broken, with what mends it."""

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from models.sealing.vault import KeyRing
from tests.acceptance.installation import Installation
from tests.acceptance.keeping import due_now
from tests.acceptance.one_machine import OneMachine
from tests.acceptance.providers import Simulated, simulated
from tests.acceptance.test_explaining import copied, explained, told_as
from tests.polling import eventually
from worker.embedded import state


@pytest.fixture
def provider() -> Iterator[Simulated]:
    with simulated("on_use", lifetime=600.0) as found:
        yield found


def attention(installation: Installation) -> list[dict[str, Any]]:
    """What `status` tells where somebody must act."""
    found: list[dict[str, Any]] = json.loads(installation.command("status", "--json", exit_code=1))["attention"]
    return found


def test_a_broker_that_hangs_is_named_and_no_beat_and_what_is_copied_mends_it(
    one_machine: OneMachine, provider: Simulated
) -> None:
    one_machine.register("app", provider.registration(), provider.secret)
    one_machine.import_grants("app", due_now(provider, 1))
    told_as(one_machine, "grant_is_well", "due-1")
    found = state.read(one_machine.home)
    assert found is not None
    pid = found.processes["valkey"].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    one_machine.command("grants", "refresh", "due-1")
    told = told_as(one_machine, "processes_cannot_work", "due-1")
    assert told["headline"].startswith(f"The broker at {one_machine.home.runtime}/valkey.sock hangs")
    assert told["command"] == f"kill -9 {pid}"
    (first, *_) = attention(one_machine)
    assert first["what"].startswith("the broker at")
    assert f"kill -9 {pid}" in first["next"]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: explained(one_machine, "due-1")["cause"] == "grant_is_well", timeout=60)


def test_workers_that_listen_elsewhere_are_deaf_and_named(installation: Installation, provider: Simulated) -> None:
    right = installation.env["EVERGRANT_BROKER_URL"]
    installation.env["EVERGRANT_BROKER_URL"] = f"{right.rpartition('=')[0]}=63"
    deaf = installation.worker()
    installation.env["EVERGRANT_BROKER_URL"] = right
    installation.beat()
    installation.register("app", provider.registration(), provider.secret)
    installation.import_grants("app", due_now(provider, 1))
    told = told_as(installation, "workers_are_deaf")
    assert f"Worker {deaf.pid} on " in told["headline"]
    assert "EVERGRANT_BROKER_URL" in told["remedy"]
    (first, *_) = attention(installation)
    assert first["what"].startswith("no worker takes anything up: 1 grant handed out and untouched")
    assert deaf.stop() == 0
    installation.worker()
    told_as(installation, "grant_is_well")


def test_a_key_that_the_workers_lack_is_held_by_this_shell_alone_and_the_list_says_so(
    installation: Installation, provider: Simulated
) -> None:
    installation.register("app", provider.registration(), provider.secret)
    installation.import_grants("app", due_now(provider, 1))
    own = installation.env["EVERGRANT_REFRESH_TOKEN_KEYS_FILE"]
    other = installation.folder / "other.keys"
    other.touch(mode=0o600)
    other.write_text(KeyRing.generate_line("another") + "\n", encoding="utf-8")
    installation.env["EVERGRANT_REFRESH_TOKEN_KEYS_FILE"] = str(other)
    worker = installation.worker()
    installation.env["EVERGRANT_REFRESH_TOKEN_KEYS_FILE"] = own
    installation.beat()
    told = told_as(installation, "key_is_missing")
    assert f"in the environment of worker {worker.pid} on " in told["remedy"]
    copied(installation, told)
    (key,) = [each for each in installation.listed("keys", "list") if each["id"] == "refresh-1"]
    assert (key["held"], key["held_by"], key["processes"]) == (True, [], "0 of 1")
    assert key["lacked_by"][0].startswith(f"worker {worker.pid} on ")
    assert worker.stop() == 0
    installation.worker()
    told_as(installation, "grant_is_well")
