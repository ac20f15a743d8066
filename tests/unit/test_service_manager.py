"""What a service manager is told: a datagram where it asks for one, and nothing anywhere else."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.polling import eventually
from worker import service_manager


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listening


def heard(manager: socket.socket) -> bytes:
    try:
        return manager.recv(4096)
    except BlockingIOError:
        return b""


def test_a_manager_that_asks_is_told(manager: socket.socket) -> None:
    service_manager.tell(service_manager.READY)
    assert heard(manager) == b"READY=1"


def test_an_abstract_socket_is_written_with_an_at(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("")  # the kernel chooses a name that nobody has
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + listening.getsockname()[1:].decode())
        listening.setblocking(False)
        service_manager.tell(service_manager.LEAVING)
        assert heard(listening) == b"STOPPING=1"


def test_where_nobody_asks_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setattr(socket, "socket", lambda *_: pytest.fail("a socket was opened"))
    service_manager.tell(service_manager.READY)


def test_a_manager_that_is_gone_keeps_nobody_from_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    service_manager.tell(service_manager.READY)


def test_a_third_of_the_managers_patience_lies_between_two_pulses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    assert service_manager.pulse_seconds() == 20
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert service_manager.pulse_seconds() == 20


def test_who_is_not_watched_sends_no_pulse(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getppid()))
    assert service_manager.pulse_seconds() is None
    monkeypatch.delenv("WATCHDOG_USEC")
    asyncio.run(service_manager.keep_telling())  # it ends at once
    assert heard(manager) == b""


def test_a_loop_that_turns_is_heard_again_and_again(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)

    async def told_thrice() -> None:
        telling = asyncio.create_task(service_manager.keep_telling())
        for _ in range(3):
            while heard(manager) != b"WATCHDOG=1":  # noqa: ASYNC110  # a socket, not an event
                await asyncio.sleep(0.001)
        telling.cancel()

    asyncio.run(asyncio.wait_for(told_thrice(), 20))
    eventually(lambda: heard(manager) == b"")
