"""The CLI as a process of its own: signals, pipes, the loopback listener, and a bare environment."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import settings
from models.sealing.keys import KeyRing
from simulator.control import SimulatorControl
from tests import polling
from tests.integration.cli.evergrant import Evergrant, environment_of
from tests.integration.cli.test_cli_connect import visit
from worker.cli.imports.flow import PORTION

ROOT = Path(__file__).resolve().parents[3]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(adopted: settings.Settings) -> Iterator[Start]:
    """Start `evergrant …` as a process; it is ended with the test."""
    started: list[subprocess.Popen[str]] = []

    def launch(*words: str, **more: Any) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "worker.cli", *words],
            cwd="/",
            env=more.pop("env", environment_of(adopted)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            **more,
        )
        started.append(process)
        return process

    yield launch
    for process in started:
        process.kill()
        process.communicate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _url_in(process: "subprocess.Popen[str]") -> str:
    """The authorize URL, once the command listens."""
    assert process.stderr is not None
    told = ""
    for line in process.stderr:
        told += line
        if line.startswith("Waiting"):
            break
    found = re.search(r"http://\S+/oauth/authorize\S+", told)
    assert found is not None, told
    return found.group()


def _get(url: str) -> str:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=30)
    connection.request("GET", f"{parts.path}?{parts.query}")
    page = connection.getresponse().read().decode()
    connection.close()
    return page


@pytest.fixture
def own_port(connected: Evergrant, provider: SimulatorControl) -> Evergrant:
    """The CLI with a client whose redirect URI is a port of this test alone."""
    uri = f"http://127.0.0.1:{_free_port()}/back"
    provider.create_client("mine", "secret", redirect_uri=uri)
    provider.decide_automatically("allow", user="user-9")
    connected("clients", "set", "sim", "--client-id", "mine", "--redirect-uri", uri)
    connected("clients", "set-secret", "sim", "--client-secret-file", "-", stdin="secret")
    return connected


def test_connect_listens_for_the_browser_and_stores_the_grant(own_port: Evergrant, start: Start) -> None:
    process = start("grants", "connect", "a", "--json")
    page = _get(visit(_url_in(process)))
    assert "You can close this window" in page
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert '"how": "connected"' in out
    assert own_port("grants", "show", "a", "--json").json["status"] == "active"


def test_a_port_that_is_in_use_is_told(own_port: Evergrant, start: Start) -> None:
    uri = own_port("clients", "show", "sim", "--json").json["redirect_uri"]
    with socket.create_server(("127.0.0.1", urlsplit(uri).port or 0)):
        process = start("grants", "connect", "a", "--json")
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert '"error": "port_in_use"' in err


def test_nobody_comes_back_in_time(own_port: Evergrant, start: Start) -> None:
    process = start("grants", "connect", "a", "--timeout", "0.2s", "--json")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75
    assert '"error": "timeout"' in err


def test_ctrl_c_ends_a_waiting_command_in_one_sentence(own_port: Evergrant, start: Start) -> None:
    process = start("grants", "connect", "a")
    _url_in(process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1].startswith("evergrant: Interrupted;")
    assert "Traceback" not in err


LOADED_HALF = """
import sys

class Struck:
    def find_spec(self, name, *_):
        if name == "worker.cli.sections":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Struck())
from worker.cli import main
"""


def test_ctrl_c_while_a_command_is_loaded_shows_no_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED_HALF],
        cwd="/",
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_a_reader_that_leaves_ends_a_list_quietly(temple: Evergrant, start: Start) -> None:
    temple.take_in(*(f"g{number}" for number in range(3000)))
    process = start("grants", "list", "--json")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 141
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_status_follows_the_fleet_in_a_pipe_until_it_is_ended(temple: Evergrant, start: Start) -> None:
    process = start("status", "--watch", "--interval", "0.2s", "--json")
    assert process.stdout is not None
    first, second = process.stdout.readline(), process.stdout.readline()
    assert '"active": 0' in first
    assert '"active": 0' in second
    process.send_signal(signal.SIGINT)
    assert process.wait(60) in (0, 130)


def test_a_bare_environment_is_told_what_to_start(start: Start, tmp_path: Path) -> None:
    bare = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    process = start("grants", "list", env=bare)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75
    assert err.count("\n") == 1
    assert "start `evergrant up`, or set EVERGRANT_DATABASE_URL, or EVERGRANT_HOME to the home you mean" in err


@pytest.mark.parametrize(
    ("variable", "value", "part"),
    [
        ("EVERGRANT_DATABASE_URL", "mysql://x", "must start with postgresql://"),
        ("EVERGRANT_BROKER_URL", "amqp://x", "must start with redis://"),
        ("EVERGRANT_CONCURRENCY", "many", "EVERGRANT_CONCURRENCY"),
        ("EVERGRANT_REFRESH_TOKEN_KEYS_FILE", "/nowhere/ring", "/nowhere/ring"),
    ],
)
def test_a_wrong_setting_is_named(
    adopted: settings.Settings, start: Start, variable: str, value: str, part: str
) -> None:
    found = {k: v for k, v in environment_of(adopted).items() if k != "EVERGRANT_REFRESH_TOKEN_KEYS"}
    process = start("keys", "list", env={**found, variable: value})
    _, err = process.communicate(timeout=60)
    assert process.returncode in (1, 2)
    assert part in err
    assert "Traceback" not in err


def test_a_worker_and_a_beat_start_anywhere_and_end_well(
    temple: Evergrant, start: Start, eventually: Any, sql: Any
) -> None:
    running = {kind: start(kind) for kind in ("worker", "beat")}
    for kind in running:
        eventually(lambda kind=kind: temple(kind, "--check").code == 0, timeout=60)
    for kind, process in running.items():
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, (kind, err)
    assert sql("select count(*) from evergrant.processes where kind = 'worker'") == [(0,)]
    assert sql("select count(*) from evergrant.journals where drained_at is null") == [(0,)]


def test_a_worker_without_its_keys_does_not_start(adopted: settings.Settings, start: Start) -> None:
    found = {k: v for k, v in environment_of(adopted).items() if k != "EVERGRANT_REFRESH_TOKEN_KEYS"}
    process = start("worker", env=found)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "needs the refresh key ring" in err


def test_the_simulator_runs_alone_and_tells_a_port_in_use(start: Start) -> None:
    process = start("simulator", "--port", "0", "--lifetime", "20s", "--rate", "100/minute")
    assert process.stdout is not None
    line = process.stdout.readline()
    port = re.search(r"127\.0\.0\.1:(\d+)", line)
    assert port is not None
    assert "tokens of 20 s" in line
    second = start("simulator", "--port", port.group(1), "--rate", "100/minute")
    _, err = second.communicate(timeout=60)
    assert (second.returncode, "cannot be listened on" in err) == (1, True)
    wrong = start("simulator", "--profile", "sometimes")
    _, err = wrong.communicate(timeout=60)
    assert (wrong.returncode, "sometimes" in err) == (2, True)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0


@pytest.mark.parametrize("kind", ["worker", "beat"])
@pytest.mark.parametrize("program", ["worker.cli", "celery"])
def test_every_log_line_names_its_kind_of_process_however_it_was_started(
    adopted: settings.Settings, kind: str, program: str
) -> None:
    words = [kind] if program == "worker.cli" else ["-A", "worker", kind]
    process = subprocess.Popen(
        [sys.executable, "-m", program, *words],
        cwd=ROOT,
        env=environment_of(adopted),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = _log_lines(process, until={"worker": "ready", "beat": "Starting"}[kind])
    assert lines
    assert {line["process"] for line in lines} == {kind}


STOPPED_WHILE_IT_CONNECTS = """
import os, signal, sys
from celery.bin.celery import main
from models import database

connect = database.connect

def connect_and_be_stopped(*arguments, **more):
    os.kill(os.getpid(), signal.SIGTERM)
    return connect(*arguments, **more)

database.connect = connect_and_be_stopped
sys.argv = ["celery", "-A", "worker", "beat"]
main()
"""


def test_a_beat_that_is_stopped_while_it_reaches_for_the_database_ends(adopted: settings.Settings) -> None:
    """Celery's signal handler runs in the midst of what the main thread holds."""
    process = subprocess.run(
        [sys.executable, "-c", STOPPED_WHILE_IT_CONNECTS],
        cwd=ROOT,
        env=environment_of(adopted) | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "Traceback" not in process.stderr


def _log_lines(process: "subprocess.Popen[str]", *, until: str) -> list[dict[str, Any]]:
    """What a process logs until it says that it is up, and at its end."""
    assert process.stderr is not None
    with process:
        told: list[str] = []
        for line in process.stderr:
            told.append(line)
            if until in line:
                break
        process.terminate()
        told += process.stderr
    return [json.loads(line) for line in told if line.startswith("{")]


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGINT])
def test_an_import_that_was_struck_in_the_middle_is_run_again_and_nothing_is_lost_or_there_twice(
    temple: Evergrant, start: Start, sql: Any, tmp_path: Path, signal_: signal.Signals
) -> None:
    lines = [json.dumps({"ref": f"g{n}", "refresh_token": f"rt-{n}"}) + "\n" for n in range(2 * PORTION)]
    pipe, file = tmp_path / "pipe", tmp_path / "grants.jsonl"
    file.write_text("".join(lines), encoding="utf-8")
    os.mkfifo(pipe)
    importing = start("grants", "import", str(pipe), "--client", "temple")
    with pipe.open("w", encoding="utf-8") as feeding:
        feeding.writelines(lines[: PORTION + 1000])
        feeding.flush()
        polling.eventually(lambda: sql("select count(*) from evergrant.grants") == [(PORTION,)], timeout=60)
        importing.send_signal(signal_)
        _, told = importing.communicate(timeout=30)
    if signal_ is signal.SIGINT:
        assert f"Stopped: {PORTION} imported so far" in told
    assert temple("grants", "import", str(file), "--client", "temple", "--json").json["skipped"] == PORTION
    assert sql("select count(*), count(distinct ref) from evergrant.grants") == [(len(lines), len(lines))]
    assert sql("select count(distinct grant_id) from evergrant.events where type = 'grant.imported'") == [(len(lines),)]


SHOW = """
import sys
from worker.cli import run
assert run(["grants", "show", "a", "--json"]) == 0
print(*sorted(sys.modules))
"""


def test_a_grant_is_shown_without_what_that_does_not_need(temple: Evergrant, adopted: settings.Settings) -> None:
    temple("grants", "import", "-", "--client", "temple", stdin='{"ref": "a", "refresh_token": "rt-1"}')
    done = subprocess.run(
        [sys.executable, "-c", SHOW],
        env=environment_of(adopted),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    shown, imported = done.stdout.splitlines()
    assert json.loads(shown)["ref"] == "a"
    assert "sqlalchemy" in imported.split()
    heavy = {
        "aiohttp",
        "alembic",
        "celery",
        "cryptography",
        "jinja2",
        "kombu",
        "redis",
        "rich",
        "structlog",
        "tenacity",
    }
    assert heavy & set(imported.split()) == set()


def test_a_handover_goes_through_a_pipe_and_only_it(temple: Evergrant, start: Start, sql: Any) -> None:
    temple.take_in("a", "b")
    process = start("grants", "export", "--handover", "--out", "-", "--json")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert [(line["ref"], line["refresh_token"]) for line in map(json.loads, out.splitlines())] == [
        ("a", "rt-temple-a"),
        ("b", "rt-temple-b"),
    ]
    assert json.loads(err) == {"client": "temple", "file": "-", "handed_over": 2, "left": 0}
    assert sql("select distinct reason from evergrant.grants") == [("handed_over",)]
    assert not Path("-").exists()
    sql("delete from evergrant.grants")
    assert temple("grants", "import", "-", "--client", "temple", stdin=out).code == 0
    assert sql("select count(*) from evergrant.grants where status = 'active'") == [(2,)]


def test_a_pipe_that_breaks_hands_nothing_over(temple: Evergrant, start: Start, sql: Any) -> None:
    temple.take_in(*(f"g{number}" for number in range(2000)))
    process = start("grants", "export", "--handover", "--out", "-")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 141
    assert sql("select distinct status, reason from evergrant.grants") == [("active", None)]


def test_a_full_disk_behind_the_pipe_hands_nothing_over(
    temple: Evergrant, adopted: settings.Settings, sql: Any
) -> None:
    temple.take_in("a")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "worker.cli", "grants", "export", "--handover", "--out", "-"],
            cwd="/",
            env=environment_of(adopted),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert sql("select status, reason from evergrant.grants") == [("active", None)]


def test_a_new_key_goes_into_a_pipe_and_is_in_no_file(start: Start) -> None:
    process = start("keys", "generate", "--ring", "access", "--out", "-", "--json")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.startswith(json.loads(err)["id"] + ":")
    assert KeyRing.parse(out).ids == [json.loads(err)["id"]]
