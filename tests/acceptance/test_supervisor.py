"""The life of `evergrant up` on one machine: real engines, real signals, stand-ins for worker and beat."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

import settings
from tests.polling import eventually
from worker.embedded import discovery, state
from worker.embedded.errors import NotRunning
from worker.embedded.home import Home

ROOT = Path(__file__).resolve().parents[2]

# What `evergrant up` does, with programs that are given: [[name, shell script], …] a stage.
UP = """
import json, signal, sys, settings
from worker import logs
from worker.embedded import supervisor
from worker.embedded.process import Program
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # a suite under nohup hands down that it is ignored, which would be heeded
logs.configure("up", level="INFO")
stages = [[Program(name=name, argv=["/bin/sh", "-c", script], grace_seconds=20) for name, script in stage]
          for stage in json.loads(sys.argv[1])]
sys.exit(supervisor.supervise(settings.current(), stages))
"""
PATIENT = "trap 'echo {name} ends; exit 0' TERM; echo {name} is ready; while :; do sleep 0.1; done"
STUBBORN = "trap '' TERM INT; echo worker-1 is ready; while :; do sleep 0.1; done"


def patient(name: str) -> list[str]:
    return [name, PATIENT.format(name=name)]


USUAL = [[patient("worker-1")], [patient("beat")]]


@dataclass
class Up:
    """A supervisor that runs as a process of its own, and what it wrote."""

    process: subprocess.Popen[bytes]
    home: Home
    log: Path

    def state(self) -> state.State:
        found = state.read(self.home)
        assert found is not None, self.log.read_text(encoding="utf-8")
        return found

    def pid_of(self, name: str) -> int:
        pid = self.state().processes[name].pid
        assert pid is not None
        return pid

    def wait_for(self, *sentences: str) -> None:
        eventually(lambda: self._said(sentences), timeout=60)

    def _said(self, sentences: tuple[str, ...]) -> bool:
        said = self.log.read_text(encoding="utf-8")
        assert self.process.poll() is None, said
        return state.read(self.home) is not None and all(sentence in said for sentence in sentences)

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def running(home: Path, stages: list[list[list[str]]]) -> Iterator[Up]:
    log = home.with_name("up.log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", UP, json.dumps(stages)],
            cwd="/",
            env=os.environ | {"EVERGRANT_HOME": str(home), "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    up = Up(process, Home(home), log)
    try:
        up.wait_for('"event": "up"', *(f"{name} is ready" for stage in stages for name, _ in stage))
        yield up
    finally:
        process.kill()
        process.wait(10)
        try:
            eventually(lambda: not mentioning(home), timeout=60)
        finally:
            for pid in mentioning(home):
                os.kill(pid, signal.SIGKILL)


def mentioning(home: Path) -> list[int]:
    """Every process with something of this home in its command line or environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            said = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:  # it has ended, or is another user's
            continue
        if os.fsencode(home) in said and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with running(tmp_path / "home", USUAL) as made:
        yield made


@pytest.fixture(scope="module")
def lasting_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One for the tests that only look."""
    with running(tmp_path_factory.mktemp("lasting") / "home", USUAL) as made:
        yield made


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything_in_order_with_exit_code_0(up: Up, number: signal.Signals) -> None:
    assert up.stop(number) == 0
    said = up.log.read_text(encoding="utf-8")
    ends = ["beat ends", "worker-1 ends", "Valkey is now ready to exit", "received fast shutdown request"]
    assert [e for e in re.findall("|".join(ends), said) if e] == ends
    assert mentioning(up.home.path) == []
    assert state.read(up.home) is None


def test_a_second_up_in_the_same_home_is_refused_with_the_pid_of_the_first(lasting_up: Up) -> None:
    second = subprocess.run(
        [sys.executable, "-c", UP, "[]"],
        env=os.environ | {"EVERGRANT_HOME": str(lasting_up.home.path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert f"HomeBusy: The home {lasting_up.home.path} is in use by process {lasting_up.process.pid};" in second.stderr
    assert answers(lasting_up)


def test_a_killed_supervisor_leaves_no_child(up: Up) -> None:
    children = [child.pid for child in up.state().processes.values()]
    assert len(children) == 4
    up.process.kill()
    up.process.wait(10)
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), timeout=60)
    assert mentioning(up.home.path) == []


def test_after_a_kill_of_everything_the_next_up_starts_with_the_data(tmp_path: Path) -> None:
    with running(tmp_path / "home", USUAL) as up:
        with psycopg.connect(up.state().database_url or "") as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        up.process.kill()
        for pid in mentioning(up.home.path):
            os.kill(pid, signal.SIGKILL)
    with running(tmp_path / "home", USUAL) as up, psycopg.connect(up.state().database_url or "") as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


@pytest.mark.parametrize("name", ["worker-1", "beat", "valkey", "postgres"])
def test_a_killed_child_is_started_again(up: Up, name: str) -> None:
    before = up.pid_of(name)
    os.kill(before, signal.SIGKILL)
    eventually(lambda: up.state().processes[name].pid not in {None, before}, timeout=60)
    assert {n: p.restarts for n, p in up.state().processes.items() if p.restarts} == {name: 1}
    eventually(lambda: answers(up), timeout=60)


def answers(up: Up) -> bool:
    try:
        with psycopg.connect(up.state().database_url or "", connect_timeout=5) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def test_a_child_that_dies_at_once_is_started_again_more_and_more_slowly(tmp_path: Path) -> None:
    with running(tmp_path / "home", [[["worker-1", "echo worker-1 is ready; exit 3"]]]) as up:
        eventually(lambda: up.state().processes["worker-1"].restarts >= 2, timeout=60)
        assert up.stop(signal.SIGTERM) == 0
    lines = [json.loads(row) for row in up.log.read_text(encoding="utf-8").splitlines() if row.startswith("{")]
    died = [(line["name"], line["exit_code"], line["again_in_s"]) for line in lines if line["event"] == "died"]
    assert died[:3] == [("worker-1", 3, 1.0), ("worker-1", 3, 2.0), ("worker-1", 3, 4.0)][: len(died)]
    assert len(died) >= 2


def test_a_second_signal_kills_what_will_not_end(tmp_path: Path) -> None:
    with running(tmp_path / "home", [[["worker-1", STUBBORN]]]) as up:
        up.process.send_signal(signal.SIGINT)
        eventually(lambda: "stopping" in up.log.read_text(encoding="utf-8"))
        assert up.process.poll() is None
        assert up.stop(signal.SIGINT) == 1
        assert mentioning(up.home.path) == []


def test_a_terminals_ctrl_c_does_not_reach_the_children(lasting_up: Up) -> None:
    sessions = {os.getsid(child.pid) for child in lasting_up.state().processes.values() if child.pid}
    assert len(sessions) == 4
    assert os.getsid(lasting_up.process.pid) not in sessions


def test_no_child_has_a_secret_in_its_arguments_or_environment(lasting_up: Up) -> None:
    home = lasting_up.home
    secrets = [home.passfile.read_bytes().strip().split(b":")[-1]]
    secrets += [home.key_ring(ring).read_bytes().strip().split(b":")[-1] for ring in ("refresh", "access")]
    processes = [Path(f"/proc/{child.pid}") for child in lasting_up.state().processes.values()]
    said = b"".join((p / name).read_bytes() for p in processes for name in ("cmdline", "environ"))
    said += home.state.read_bytes() + lasting_up.log.read_bytes()
    assert all(len(secret) > 20 and secret not in said for secret in secrets)


def test_other_commands_find_the_engines_of_the_same_home_while_they_run(up: Up) -> None:
    mine = settings.Settings(home=up.home.path)
    found = discovery.resolve(mine, broker_needed=True)
    assert found.database_url is not None
    assert found.broker_url is not None
    with psycopg.connect(found.database_url.get_secret_value()) as connection:
        assert connection.execute("SELECT environment FROM evergrant.installation").fetchone() == ("embedded",)
    assert found.environment == "embedded"
    assert found.refresh_token_keys_file == up.home.key_ring("refresh")
    assert up.stop(signal.SIGTERM) == 0
    with pytest.raises(NotRunning, match=r"start `evergrant up`, or set EVERGRANT_DATABASE_URL"):
        discovery.resolve(mine)


def test_a_url_that_is_set_is_never_replaced(lasting_up: Up) -> None:
    theirs = settings.Settings(home=lasting_up.home.path, database_url="postgresql://db.example/evergrant")
    found = discovery.resolve(theirs)
    assert found.database_url == theirs.database_url
    assert found.refresh_token_keys_file is None
    assert found.environment is None
    assert found.broker_url is not None
