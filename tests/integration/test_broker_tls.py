"""TLS to the broker: a server that nobody vouches for is not spoken to, least of all with a password."""

import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import self_signed

ROOT = Path(__file__).parents[2]
ASK = """
from evergrant_client.celery import sender
from worker import celery
for app in (celery.app, sender({url!r})):
    with app.connection_for_write() as connection:
        try:
            connection.ensure_connection(max_retries=1, timeout=5)
            print("spoke")
        except Exception as error:
            print("refused")
"""


class Listening:
    """A server with TLS that says OK to whatever comes."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self.heard = 0
        self._tls = tls
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                accepted, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(accepted,), daemon=True).start()

    def _answer(self, accepted: socket.socket) -> None:
        try:
            with self._tls.wrap_socket(accepted, server_side=True) as peer:
                while said := peer.recv(4096):
                    self.heard += len(said)
                    peer.sendall(b"+OK\r\n" * said.count(b"*"))
        except OSError:
            return

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[tuple[Listening, Path]]:
    tls, pem = self_signed(tmp_path)
    server = Listening(tls)
    yield server, pem
    server.close()


def asked(url: str, home: Path) -> list[str]:
    env = {
        "EVERGRANT_BROKER_URL": url,
        "EVERGRANT_DATABASE_URL": "postgresql://127.0.0.1:1/x",
        "HOME": str(home),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'client'}",
    }
    command = [sys.executable, "-c", ASK.format(url=url)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.split()


def test_a_broker_that_nobody_vouches_for_hears_nothing(listening: tuple[Listening, Path], tmp_path: Path) -> None:
    server, _ = listening

    assert asked(f"rediss://:secret@127.0.0.1:{server.port}/0", tmp_path) == ["refused", "refused"]
    assert server.heard == 0


def test_a_broker_of_an_authority_that_the_url_names_is_spoken_to(
    listening: tuple[Listening, Path], tmp_path: Path
) -> None:
    server, pem = listening

    assert asked(f"rediss://:secret@127.0.0.1:{server.port}/0?ssl_ca_certs={pem}", tmp_path) == ["spoke", "spoke"]
