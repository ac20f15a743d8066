"""Whoever reaches the token port of a real `evergrant web` without a key: nobody who has one feels anything of it."""

import re
import resource
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.installation import Installation
from tests.acceptance.programs import Running
from tests.acceptance.providers import simulated
from tests.integration.web.asking import ask
from tests.polling import eventually

FILES = 1024  # that the process may open
HALF_OPEN = 3000
PEERS = 200
HALF_A_HEAD = b"GET /v1/grants/customer-1/token HTTP/1.1\r\nHost: x\r\n"
ROOM = FILES - FILES // 4  # connections at most
# It has opened these meanwhile: connections to the database.
FEW = 12


@pytest.fixture
def many_files() -> Iterator[None]:
    """This process holds the other end of each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def installation(tmp_path: Path, migrated_url: str, broker_url: str) -> Iterator[Installation]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        token, ops = (f"127.0.0.1:{each.getsockname()[1]}" for each in (one, other))
    made = Installation.made(
        tmp_path / "installation",
        database_url=migrated_url,
        broker_url=broker_url,
        token_bind=token,
        ops_bind=ops,
    )
    yield made
    made.close()


def started(installation: Installation) -> Running:
    """A web process with few files, once it listens."""
    program = [sys.executable, "-m", "worker.cli", "web"]
    web = installation.run("web", ["/bin/sh", "-c", f'ulimit -n {FILES} && exec "$0" "$@"', *program])
    eventually(lambda: web.said("web.listening"), timeout=60)
    return web


def half_open(address: str, number: int) -> socket.socket:
    host, port = address.split(":")
    door = socket.create_connection((host, int(port)), 20, source_address=(f"127.0.1.{number % PEERS + 1}", 0))
    door.sendall(HALF_A_HEAD)
    return door


def test_thousands_of_half_open_requests_are_not_felt_by_whoever_has_a_key(
    installation: Installation, many_files: None, tmp_path: Path
) -> None:
    token, ops = (installation.env[f"EVERGRANT_{name}_BIND"] for name in ("TOKEN", "OPS"))
    with simulated("on_use", lifetime=3600) as provider:
        installation.register("app", provider.registration(), provider.secret)
        installation.import_grants("app", provider.mint(1))
        installation.command("apps", "add", "billing", "--key-file", str(tmp_path / "key"))
    key = (tmp_path / "key").read_text(encoding="utf-8").strip()
    files = Path(f"/proc/{started(installation).pid}/fd")

    def read() -> int:
        headers = {"Authorization": f"Bearer {key}"}
        return ask(f"http://{token}", "GET", "/v1/grants/customer-1/token?wait=0", headers=headers).status

    def looked_at(path: str) -> int:
        return ask(f"http://{ops}", "GET", path).status

    assert (read(), looked_at("/healthz"), looked_at("/readyz")) == (200, 200, 503)  # there is no worker
    before = len(list(files.iterdir()))

    doors = []
    try:
        for number in range(HALF_OPEN):
            doors.append(half_open(token, number))
            if number % 250 == 0:
                assert (read(), looked_at("/healthz"), looked_at("/readyz")) == (200, 200, 503)
        assert (read(), looked_at("/healthz"), looked_at("/readyz")) == (200, 200, 503)
        assert len(list(files.iterdir())) < ROOM
        told = ask(f"http://{ops}", "GET", "/metrics").body.decode()
        closed = re.findall(r'^evergrant_web_connections_closed_total{cause="\w+"} (\S+)$', told, re.MULTILINE)
        assert sum(map(float, closed)) >= HALF_OPEN - ROOM // 2
    finally:
        for door in doors:
            door.close()
    eventually(lambda: len(list(files.iterdir())) <= before + FEW, timeout=30)
    assert read() == 200
