"""Whoever may name a URL, or answers at one: neither leads a worker into our own network, nor holds up anybody."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.installation import Installation
from tests.acceptance.keeping import begin
from tests.acceptance.providers import simulated
from tests.polling import eventually
from tests.receivers import SECRET, receiving

LIFETIME = 6.0
GRANTS = 5
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
Says = Callable[[socket.socket], None]


@contextmanager
def says(behave: Says) -> Iterator[tuple[int, list[int]]]:
    """A server of one behaviour: its port, and the peers that have connected."""
    peers: list[int] = []
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while not ended.is_set():
                try:
                    peer, (_, port) = listening.accept()
                except OSError:
                    return
                peers.append(port)
                threading.Thread(target=answer, args=(peer,), daemon=True).start()

        def answer(peer: socket.socket) -> None:
            with peer:
                try:
                    peer.recv(65536)
                    behave(peer)
                except OSError:
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1], peers
        finally:
            ended.set()
            listening.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def endless(peer: socket.socket) -> None:
    peer.sendall(HEAD + b"\r\n")
    while True:
        peer.sendall(b"x" * 65536)


def endless_head(peer: socket.socket) -> None:
    peer.sendall(HEAD)
    while True:
        peer.sendall(b"X-More: " + b"x" * 4000 + b"\r\n")


def dripping(peer: socket.socket) -> None:
    peer.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
    while True:
        peer.sendall(b"x")
        threading.Event().wait(1)


def add(installation: Installation, url: str, *options: str) -> int:
    done = installation.command("webhooks", "add", url, "--secret-file", "-", "--json", *options, stdin=SECRET)
    return int(done.split('"id": ')[1].split(",")[0])


def last_code(installation: Installation, webhook_id: int) -> Callable[[], str | None]:
    statement = "select last_code from evergrant.webhook_deliveries where webhook_id = %s order by id limit 1"

    def look() -> str | None:
        found: list[dict[str, Any]] = installation.rows(statement, [webhook_id])
        return found[0]["last_code"] if found else None

    return look


@pytest.fixture
def kept(installation: Installation) -> Iterator[Installation]:
    """An installation that keeps some grants alive meanwhile, and does so still at the end."""
    with simulated("on_use", lifetime=LIFETIME) as provider:
        begin(installation, provider, grants=GRANTS, renewed_at_once=True)
        eventually(lambda: len(provider.refreshes()) == GRANTS, timeout=60)
        yield installation
        before = {ref: len(times) for ref, times in provider.refreshes().items()}
        eventually(lambda: all(len(provider.refreshes()[ref]) > n for ref, n in before.items()), timeout=60)


def happen(installation: Installation) -> None:
    """Something happens that every webhook is told of."""
    installation.rows("insert into evergrant.events (type) values ('client.paused')")


def test_no_url_leads_a_worker_into_our_own_network(kept: Installation, tmp_path: Path) -> None:
    """Neither by what the URL says, nor by what its name stands for, nor by what its receiver says."""
    with says(lambda peer: peer.sendall(HEAD + b"Content-Length: 0\r\n\r\n")) as (secret_port, visitors):
        by_name = add(kept, f"https://localhost:{secret_port}/")
        by_number = add(kept, "https://app.example/")
        # As if somebody had come past the command, who may write this table.
        kept.rows(
            "update evergrant.webhooks set url = %s where id = %s", [f"https://127.0.0.1:{secret_port}/", by_number]
        )
        with receiving(lambda _: (307, {"Location": f"http://127.0.0.1:{secret_port}/"}, b"")) as sends_on:
            redirect = add(kept, sends_on.url, "--allow-private")
            happen(kept)
            for each in (by_name, by_number):
                eventually(lambda each=each: last_code(kept, each)() == "host_private", timeout=30)  # type: ignore[misc]
            eventually(lambda: last_code(kept, redirect)() == "http_307", timeout=30)
        assert visitors == []


@pytest.mark.parametrize(
    ("behave", "code"), [(endless, "too_large"), (endless_head, "too_large"), (dripping, "timeout")]
)
def test_no_answer_holds_up_the_other_webhooks_nor_the_grants(kept: Installation, behave: Says, code: str) -> None:
    with says(behave) as (port, _), receiving() as well:
        ill = add(kept, f"http://127.0.0.1:{port}/", "--allow-private")
        add(kept, well.url, "--allow-private")
        for _ in range(40):
            happen(kept)
        eventually(lambda: len(well.taken) == 40, timeout=30)
        eventually(lambda: last_code(kept, ill)() == code, timeout=60)


def test_no_log_holds_a_webhooks_secret_nor_the_path_of_its_url(kept: Installation) -> None:
    add(kept, "https://localhost:1/T0000/hush-hush")
    happen(kept)
    eventually(lambda: kept.logged("webhook.not_delivered"), timeout=30)
    assert kept.logged("hush-hush", SECRET.removeprefix("whsec_")) == []
