"""The port of the metrics: whoever holds it costs the process that it is of next to nothing, and not for long."""

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.polling import eventually
from worker import metrics, metrics_port
from worker.metrics_port import AT_ONCE

STRANGERS = 10 * AT_ONCE


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(metrics_port, "LONGEST_SECONDS", 0.5)
    found = metrics.serve([], 0)
    assert found is not None
    return found


@pytest.fixture
def strangers(port: int) -> Iterator[list[socket.socket]]:
    """Whoever comes and says half a head, if anything."""
    with ExitStack() as stack:
        came = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 10)) for _ in range(STRANGERS)]
        for each in came[::2]:
            each.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
        yield came


def scraped(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        return b"process_cpu_seconds_total" in connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def left(stranger: socket.socket) -> bool:
    """Whether we have let this one go."""
    try:
        return stranger.recv(1) == b""
    except ConnectionResetError:
        return True


def test_of_those_who_hold_it_most_are_turned_away_and_none_stays(port: int, strangers: list[socket.socket]) -> None:
    assert threading.active_count() < STRANGERS  # of ours, two for each that is there
    assert all(map(left, strangers))
    eventually(lambda: scraped(port))


def test_where_the_system_has_no_thread_left_the_next_one_is_served(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        del thread
        message = "can't start new thread"
        raise RuntimeError(message)

    with monkeypatch.context() as without:
        without.setattr(threading.Thread, "start", refuse)
        assert not any(scraped(port) for _ in range(2 * AT_ONCE))
    assert scraped(port)
