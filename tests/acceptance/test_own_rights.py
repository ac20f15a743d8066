"""What our own processes hold: each the key rings that it needs, no memory that others see, no core dump."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from models.sealing.vault import KeyRing
from tests.acceptance.one_machine import OneMachine
from tests.polling import eventually
from worker.embedded import state

RINGS = {ring: KeyRing.generate_line(f"{ring}-1") for ring in ("refresh", "access")}
NOT_OURS = "A_SECRET_OF_THE_SHELL"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneMachine]:
    """Everything on one machine, the rings said in the environment: what is passed on can be seen."""
    os.environ[NOT_OURS] = "hunter2"
    refresh, access = RINGS.values()
    made = OneMachine.up(
        tmp_path_factory.mktemp("machine") / "up",
        ops_bind="127.0.0.1:0",
        refresh_token_keys=refresh,
        access_token_keys=access,
    )
    del os.environ[NOT_OURS]
    yield made
    made.close()


def proc(machine: OneMachine, name: str) -> Path:
    found = state.read(machine.home)
    assert found is not None
    return Path(f"/proc/{found.pid if name == 'up' else found.processes[name].pid}")


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("worker-1", {"refresh", "access"}),
        ("web", {"access"}),
        ("beat", set()),
        ("postgres", set()),
        ("valkey", set()),
    ],
)
def test_each_process_has_the_rings_that_it_needs_and_no_other(machine: OneMachine, name: str, held: set[str]) -> None:
    environment = (proc(machine, name) / "environ").read_text()

    assert {ring for ring, line in RINGS.items() if line.partition(":")[2] in environment} == held
    assert "hunter2" not in environment


def test_no_ring_is_made_that_is_said_elsewhere(machine: OneMachine) -> None:
    assert [ring for ring in RINGS if machine.home.key_ring(ring).exists()] == []


@pytest.mark.parametrize("name", ["worker-1", "web", "beat", "up"])
def test_no_process_of_ours_leaves_a_core_dump_or_shows_its_memory(machine: OneMachine, name: str) -> None:
    limits = proc(machine, name) / "limits"

    eventually(lambda: re.search(r"Max core file size +0 +0 ", limits.read_text()), timeout=60)
    # What is not dumpable belongs to root, whoever started it; as root the limit alone can be seen.
    assert (proc(machine, name) / "mem").stat().st_uid == 0


@pytest.mark.parametrize("name", ["postgres", "valkey"])
def test_no_engine_leaves_a_core_dump(machine: OneMachine, name: str) -> None:
    assert re.search(r"Max core file size +0 +0 ", (proc(machine, name) / "limits").read_text())


def test_no_process_of_ours_comes_in_as_the_superuser(machine: OneMachine) -> None:
    who = """
        select distinct a.usename, r.rolsuper from pg_stat_activity a join pg_roles r on r.rolname = a.usename
        where a.application_name = 'evergrant' order by a.usename
    """

    def logins() -> dict[str, bool]:
        return {row["usename"]: row["rolsuper"] for row in machine.rows(who)}

    eventually(lambda: logins() == {"evergrant_up_web": False, "evergrant_up_worker": False}, timeout=60)


def test_what_web_comes_in_as_may_read_no_refresh_token(machine: OneMachine) -> None:
    found = state.read(machine.home)
    assert found is not None
    with (
        psycopg.connect(found.role_urls["web"]) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("select sealed_refresh_token from evergrant.grants")
    assert machine.home.passfile_of("web").stat().st_mode & 0o077 == 0


def test_a_worker_that_crashes_leaves_nothing_behind(machine: OneMachine) -> None:
    cwd = proc(machine, "worker-1").joinpath("cwd").resolve()
    before = set(cwd.glob("core*"))
    machine.kill_part("worker-1", signal.SIGABRT)

    assert set(cwd.glob("core*")) == before
