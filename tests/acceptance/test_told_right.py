"""Told right: real processes break, and `explain` and `status` name what is broken, with what mends it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from models.sealing.vault import KeyRing
from tests.acceptance.cutting import Cutter
from tests.acceptance.installation import Installation
from tests.acceptance.keeping import due_now
from tests.acceptance.one_machine import OneMachine
from tests.acceptance.providers import Simulated, simulated
from tests.acceptance.test_explaining import REF, copied, explained, told_as
from tests.polling import eventually
from worker.embedded import state


@pytest.fixture
def provider() -> Iterator[Simulated]:
    with simulated("on_use", lifetime=600.0) as found:
        yield found


def tells_first(installation: Installation, says: str) -> str:
    """Wait until `status` begins with that; returns what it says to do."""
    found: list[dict[str, Any]] = []

    def is_so() -> bool:
        found[:] = installation.attention()
        return bool(found and found[0]["what"].startswith(says))

    try:
        eventually(is_so, timeout=60)
    except AssertionError:
        raise AssertionError(found) from None
    return str(found[0]["next"])


def test_a_broker_that_hangs_is_named_and_no_beat_and_what_is_copied_mends_it(
    one_machine: OneMachine, provider: Simulated
) -> None:
    one_machine.register("app", provider.registration(), provider.secret)
    one_machine.import_grants("app", due_now(provider, 1))
    told_as(one_machine, "grant_is_well", REF)
    found = state.read(one_machine.home)
    assert found is not None
    pid = found.processes["valkey"].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    one_machine.command("grants", "refresh", REF)
    told = told_as(one_machine, "processes_cannot_work", REF)
    assert told["headline"].startswith("The broker hangs")
    assert f"({one_machine.home.runtime}/valkey.sock, process {pid} of `evergrant up`)" in told["headline"]
    assert told["command"] == f"kill -9 {pid}"
    assert f"kill -9 {pid}" in tells_first(one_machine, "the broker hangs")
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: explained(one_machine, REF)["cause"] == "grant_is_well", timeout=60)


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
    tells_first(installation, "no worker takes anything up: 1 grant handed out and untouched")
    assert deaf.stop() == 0
    installation.worker()
    told_as(installation, "grant_is_well")


def test_a_worker_whose_broker_connection_goes_nowhere_is_deaf_and_named_while_it_says_that_it_lives(
    installation: Installation, provider: Simulated, tmp_path: Path
) -> None:
    right = installation.env["EVERGRANT_BROKER_URL"]
    real = Path(urlsplit(right).path)
    with Cutter(real, at=tmp_path / "swallows.sock") as between:
        installation.env["EVERGRANT_BROKER_URL"] = right.replace(str(real), str(between.at))
        worker = installation.worker()
        installation.env["EVERGRANT_BROKER_URL"] = right
        installation.beat()
        installation.register("app", provider.registration(), provider.secret)
        installation.import_grants("app", due_now(provider, 1))
        told_as(installation, "grant_is_well")
        between.swallows = True
        installation.import_grants("app", [{**row, "ref": "later"} for row in due_now(provider, 1)])
        told = told_as(installation, "workers_are_deaf", "later")
        assert f"Worker {worker.pid} on " in told["headline"]
        tells_first(installation, "no worker takes anything up: 1 grant")
        installation.worker()  # another one, at the broker itself
        told_as(installation, "grant_is_well", "later")


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
