"""`evergrant up` as a person starts it on a terminal, and as a machine does; what it refuses at once."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.programs import environment
from tests.polling import eventually
from tests.terminal import CTRL_C, on_terminal

UP = [sys.executable, "-m", "worker.cli", "up"]


@contextmanager
def piped(home: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], Path, Path]]:
    """`evergrant up` with its two outputs led into files."""
    out, err = home.with_name("out"), home.with_name("err")
    with out.open("wb") as output, err.open("wb") as errors:
        process = subprocess.Popen([*UP, *options], env=of_home(home), stdout=output, stderr=errors)
    try:
        yield process, out, err
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(90)


def of_home(home: Path, **more: str) -> dict[str, str]:
    return environment({"EVERGRANT_HOME": str(home), **more})


def refused(home: Path, **variables: str) -> str:
    """What it says that ends at once with exit code 2."""
    done = subprocess.run(UP, env=of_home(home, **variables), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    *_, last = done.stderr.splitlines()
    assert last.startswith("evergrant: "), done.stderr
    assert "Traceback" not in done.stderr
    return last


def command(home: Path, *words: str, stdin: str = "") -> None:
    done = subprocess.run(
        [sys.executable, "-m", "worker.cli", *words],
        env=of_home(home),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_on_a_terminal_it_says_that_it_is_ready_and_what_to_do_next(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with on_terminal(UP, env=of_home(home), columns=100, rows=30) as terminal:
        terminal.wait_for("Evergrant is ready.", "Ctrl-C here ends everything", seconds=120)
        told = terminal.text
        os.kill(worker_of(home), signal.SIGKILL)
        terminal.wait_for("worker-1 ended (killed by signal 9)", "worker-1 runs again.")
        with on_terminal([*UP[:-1], "status", "--watch"], env=of_home(home)) as watching:
            watching.wait_for("Renewed  0 since", "PROCESS")
            watching.press(CTRL_C)
            assert watching.end() == 0
        terminal.press(CTRL_C)
        terminal.wait_for("Stopping everything, the database last.")
        assert terminal.end() == 0
        assert "Everything has ended." in terminal.text
    assert "Next, in another terminal, with the same EVERGRANT_HOME:" in told
    assert "  evergrant grants connect customer-1 --client temple" in told
    assert str(home / "up.log") in told
    assert b'{"at"' not in terminal.raw
    logged = (home / "up.log").read_text(encoding="utf-8")
    assert [each for each in ("up", "ready", "died", "restarted", "down") if f'"event": "{each}"' not in logged] == []
    assert "database system is ready to accept connections" in logged


def worker_of(home: Path) -> int:
    found = json.loads((home / "state.json").read_text(encoding="utf-8"))
    return int(found["processes"]["worker-1"]["pid"])


def test_in_a_pipe_it_logs_to_standard_error_as_it_always_did(tmp_path: Path) -> None:
    with piped(tmp_path / "home") as (process, out, err):
        eventually(lambda: '"event": "ready"' in err.read_text(encoding="utf-8"), timeout=90)
        process.send_signal(signal.SIGTERM)
        assert process.wait(90) == 0
    assert out.read_bytes() == b""
    assert not (tmp_path / "home" / "up.log").exists()
    assert json.loads(err.read_text(encoding="utf-8").splitlines()[-1])["event"] == "down"


def test_told_to_it_logs_on_a_terminal_and_speaks_in_a_pipe(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with on_terminal([*UP, "--log", "json"], env=of_home(home), columns=200, rows=50) as terminal:
        terminal.wait_for('"event": "up"', seconds=90)
        terminal.press(CTRL_C)
        assert terminal.end() == 0
        assert "Evergrant is ready" not in terminal.text
    with piped(home, "--log", "file") as (_, out, err):
        eventually(lambda: "Ctrl-C here ends everything" in out.read_text(encoding="utf-8"), timeout=90)
        assert err.read_bytes() == b""
        assert b"\x1b" not in out.read_bytes()


def test_a_lost_key_ring_is_not_made_anew_where_values_are_sealed_with_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    ring, away = home / "keys" / "refresh-token.keys", tmp_path / "backup.keys"
    with piped(home) as (_, _, err):
        eventually(lambda: '"event": "ready"' in err.read_text(encoding="utf-8"), timeout=90)
        add = "clients add temple --provider event-temple --client-id id --client-secret-file -"
        command(home, *add.split(), stdin="hush")
    ring.rename(away)
    told = refused(home)
    assert f"The refresh key ring is gone from {ring}, and 1 sealed value needs it; put it back" in told
    assert not ring.exists()
    away.rename(ring)
    (home / "keys" / "access-token.keys").unlink()  # nothing is sealed with that one: it is made again
    with piped(home) as (_, _, err):
        eventually(lambda: '"event": "ready"' in err.read_text(encoding="utf-8"), timeout=90)
    assert (home / "keys" / "access-token.keys").exists()


@pytest.mark.parametrize("variable", ["EVERGRANT_OPS_BIND", "EVERGRANT_TOKEN_BIND", "EVERGRANT_PUBLIC_BIND"])
def test_a_port_in_use_is_named_before_anything_is_started(tmp_path: Path, variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        free = {"EVERGRANT_OPS_BIND": "127.0.0.1:0", "EVERGRANT_PUBLIC_URL": "http://127.0.0.1:9466"}
        free.pop(variable, None)
        told = refused(tmp_path / "home", **free, **{variable: place})
    assert f"{variable}: another process listens on {place} already; end that one, or set {variable}" in told
    assert not (tmp_path / "home" / "postgres").exists()


def test_a_socket_that_somebody_listens_on_is_named_and_left(tmp_path: Path) -> None:
    place = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(place))
        taken.listen()
        told = refused(tmp_path / "home", EVERGRANT_OPS_BIND="127.0.0.1:0", EVERGRANT_TOKEN_BIND=str(place))
        assert f"another process listens on {place} already" in told
        assert place.is_socket()


def test_a_database_of_ones_own_needs_rings_of_ones_own(tmp_path: Path) -> None:
    own = {"EVERGRANT_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "EVERGRANT_ENVIRONMENT": "test"}
    told = refused(tmp_path / "home", **own)
    # A second ring beside the one that everything is sealed with opens nothing, and its worker spoils every other look.
    assert (
        "no refresh key ring is set for it; set EVERGRANT_REFRESH_TOKEN_KEYS_FILE to the ring that its values" in told
    )
    assert "where none are yet, make one with `evergrant keys generate --ring refresh --out FILE`" in told
    unusable = refused(tmp_path / "home", **own, EVERGRANT_REFRESH_TOKEN_KEYS="r1:!", EVERGRANT_ACCESS_TOKEN_KEYS="a:!")
    assert "EVERGRANT_REFRESH_TOKEN_KEYS" in unusable
    # One that the embedded engines have used lies there, and is not taken without a word.
    ring = tmp_path / "home" / "keys" / "refresh-token.keys"
    ring.parent.mkdir(parents=True)
    ring.write_text("", encoding="utf-8")
    assert f"set EVERGRANT_REFRESH_TOKEN_KEYS_FILE to {ring}." in refused(tmp_path / "home", **own)
