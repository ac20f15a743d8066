"""Whoever reaches the public listener of a real `evergrant web`: customers, applications and operators feel nothing."""

import secrets
import socket
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest

from tests.acceptance.installation import Installation
from tests.acceptance.providers import simulated
from tests.integration.web.asking import Answer, ask
from tests.polling import eventually

TOO_MANY = 429
FILES = 1024  # that the process may open
DOORS = 1500
HALF_A_HEAD = b"GET /connect/x HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https\r\n"
HALF_A_FORM = b"POST /connect/x HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https\r\nContent-Length: 4000\r\n\r\nform="


@pytest.fixture
def installation(tmp_path: Path, migrated_url: str, broker_url: str) -> Iterator[Installation]:
    found = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    token, ops, public = (f"127.0.0.1:{each.getsockname()[1]}" for each in found)
    for each in found:
        each.close()
    made = Installation.made(
        tmp_path / "installation",
        database_url=migrated_url,
        broker_url=broker_url,
        token_bind=token,
        ops_bind=ops,
        public_bind=public,
        public_url="https://connect.test",
        public_behind_proxy="true",
    )
    yield made
    made.close()


def half_open(address: str, what: bytes, number: int) -> socket.socket:
    host, port = address.split(":")
    door = socket.create_connection((host, int(port)), 20, source_address=(f"127.0.1.{number % 200 + 1}", 0))
    door.sendall(what)
    return door


def test_neither_half_open_requests_nor_guessed_tickets_are_felt_by_anybody_else(
    installation: Installation, tmp_path: Path
) -> None:
    token, ops, public = (installation.env[f"EVERGRANT_{name}_BIND"] for name in ("TOKEN", "OPS", "PUBLIC"))
    with simulated("on_use", lifetime=3600) as provider:
        installation.register("app", provider.registration(), provider.secret)
        installation.import_grants("app", provider.mint(1))
        installation.command("apps", "add", "billing", "--key-file", str(tmp_path / "key"))
    key = (tmp_path / "key").read_text(encoding="utf-8").strip()
    program = [sys.executable, "-m", "worker.cli", "web"]
    web = installation.run("web", ["/bin/sh", "-c", f'ulimit -n {FILES} && exec "$0" "$@"', *program])
    eventually(lambda: web.said("web.listening"), timeout=60)
    link = installation.command("grants", "connect-link", "customer-2").strip()

    def read() -> int:
        headers = {"Authorization": f"Bearer {key}"}
        return ask(f"http://{token}", "GET", "/v1/grants/customer-1/token?wait=0", headers=headers).status

    def opened(path: str, whose: str) -> Answer:
        headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": whose}
        return ask(f"http://{public}", "GET", path, headers=headers)

    def everybody() -> tuple[int, int, int]:
        health = ask(f"http://{ops}", "GET", "/healthz").status
        return read(), health, opened("/connect/" + link.rpartition("/")[2], "203.0.113.1").status

    assert everybody() == (200, 200, 200)
    doors = []
    try:
        for number in range(DOORS):
            doors.append(half_open(public, (HALF_A_HEAD, HALF_A_FORM)[number % 2], number))
            if number % 250 == 0:
                assert everybody() == (200, 200, 200)
        guesses = (opened(f"/connect/{secrets.token_urlsafe(32)}", "203.0.113.2").status for _ in range(1000))
        before_held_back = list(takewhile(lambda status: status != TOO_MANY, guesses))
        assert set(before_held_back) == {404}
        assert len(before_held_back) < 1000
        assert everybody() == (200, 200, 200)
        assert len(list(Path(f"/proc/{web.pid}/fd").iterdir())) < FILES // 2
    finally:
        for door in doors:
            door.close()
