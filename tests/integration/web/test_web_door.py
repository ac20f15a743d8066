"""The door of a listener against clients that do not behave: what no key came on costs little, and not for long."""

import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from tasks.oauth.loop_thread import LoopThread
from tests.certificates import written
from tests.polling import eventually
from worker.web.connections import LARGE_HEAD, SLOW_HEAD, TOO_MANY, Connections, Limits
from worker.web.door import Door
from worker.web.guarded_requests import GuardedRequests

QUICK = Limits(40, 20, head=timedelta(seconds=0.4), idle=timedelta(seconds=0.4), whole=timedelta(seconds=5))
PATIENT = Limits(40, 20)
BOUND = 20
HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"


async def answer(request: web.Request) -> web.Response:
    """`Authorization: Bearer N` is the key of application N."""
    _, _, holder = request.headers.get("Authorization", "").partition(" ")
    if holder:
        assert isinstance(request.protocol, GuardedRequests)
        request.protocol.proved(int(holder))
    return web.Response(text="hello")


class Here:
    """A door that is open."""

    def __init__(self, limits: Limits) -> None:
        self.connections = Connections(limits)
        self.thread = LoopThread("door")
        self.url = ""

    async def make(self, address: Path | tuple[str, int], tls: ssl.SSLContext | None) -> None:
        app = web.Application()
        app.add_routes([web.get("/", answer), web.post("/", answer)])
        self.door = Door(app, self.connections)
        await self.door.set_up()
        self.url = await self.door.open(address, tls, variable="EVERGRANT_TOKEN_BIND")

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        if self.url.startswith("unix:"):
            door = socket.socket(socket.AF_UNIX)
            door.settimeout(BOUND)
            door.connect(self.url.removeprefix("unix:"))
            return door
        place = urlsplit(self.url)
        return socket.create_connection((place.hostname or "", place.port or 0), BOUND, source_address=(source, 0))

    @property
    def counted(self) -> tuple[int, int]:
        return self.connections.known, self.connections.strangers


Opened = Callable[..., Here]


@pytest.fixture
def opened() -> Iterator[Opened]:
    made: list[Here] = []

    def open_door(
        limits: Limits, address: Path | tuple[str, int] = ("127.0.0.1", 0), tls: ssl.SSLContext | None = None
    ) -> Here:
        here = Here(limits)
        here.thread.submit(here.make(address, tls)).result(BOUND)
        made.append(here)
        return here

    yield open_door
    for here in made:
        here.thread.close(here.door.close())


def said(door: socket.socket, content: bytes) -> bytes:
    """What is answered; empty where the connection was closed."""
    try:
        door.sendall(content)
        return door.recv(65536)
    except ConnectionError:
        return b""


def is_closed(door: socket.socket) -> bool:
    try:
        return door.recv(65536) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("start", [b"", b"GET", HEAD, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + HEAD])
def test_a_head_that_does_not_come_is_not_waited_for(opened: Opened, start: bytes) -> None:
    here = opened(QUICK)
    with here.connect() as door:
        door.sendall(start)
        if start.count(b"\r\n\r\n"):
            assert b"hello" in door.recv(65536)
        assert is_closed(door)
    assert here.connections.closed_for[SLOW_HEAD] == 1
    assert here.counted == (0, 0)


def test_a_head_that_drips_is_not_waited_for(opened: Opened) -> None:
    here = opened(QUICK)
    with here.connect() as door:
        door.settimeout(0.02)
        door.sendall(HEAD)
        for _ in range(1000):
            try:
                door.sendall(b"x")
                assert door.recv(1) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                pass
            break
        else:
            pytest.fail("it is waited for")
    assert here.connections.closed_for[SLOW_HEAD] == 1


def test_whoever_has_shown_a_key_may_be_silent_and_may_not_be_slow(opened: Opened) -> None:
    here = opened(QUICK)
    with here.connect() as known, here.connect() as stranger:
        assert b"hello" in said(known, HEAD + b"Authorization: Bearer 7\r\n\r\n")
        assert is_closed(stranger)
        assert here.counted == (1, 0)
        assert b"hello" in said(known, HEAD + b"\r\n")
        known.sendall(HEAD)
        assert is_closed(known)
    assert here.counted == (0, 0)


def lines(size: int) -> bytes:
    """A head of exactly so many bytes."""
    head = HEAD + b"X: " + b"x" * 8000 + b"\r\nZ: " + b"z" * 1000 + b"\r\n"
    rest = size - len(head) - len(b"Y: \r\n\r\n")
    return head + b"Y: " + b"y" * rest + b"\r\n\r\n"


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_head_of_16_kib_is_read_and_a_larger_one_is_not(opened: Opened, pieces: int) -> None:
    here = opened(PATIENT)

    def in_pieces(head: bytes) -> bytes:
        with here.connect() as door:
            door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            step = len(head) // pieces + 1
            try:
                for start in range(0, len(head), step):
                    door.sendall(head[start : start + step])
                return door.recv(65536)
            except ConnectionError:
                return b""

    assert b"hello" in in_pieces(lines(16_000))
    assert b"hello" in in_pieces(lines(16_384))
    assert in_pieces(lines(16_385)) == b""
    assert in_pieces(HEAD + b"".join(b"X-%d: %s\r\n" % (n, b"x" * 8000) for n in range(3)) + b"\r\n") == b""
    assert here.connections.closed_for[LARGE_HEAD] == 2


def test_a_body_is_no_head(opened: Opened) -> None:
    here = opened(PATIENT)
    with here.connect() as door:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
        assert b"hello" in said(door, head + b"x" * 100_000)
        assert b"hello" in said(door, HEAD + b"\r\n")
    assert here.connections.closed_for[LARGE_HEAD] == 0


def test_a_flood_from_one_address_keeps_nobody_else_out(opened: Opened) -> None:
    here = opened(PATIENT)
    known = here.connect("127.0.0.3")
    assert b"hello" in said(known, HEAD + b"Authorization: Bearer 7\r\n\r\n")
    flood = [here.connect("127.0.0.2") for _ in range(200)]
    try:
        eventually(lambda: here.connections.closed_for[TOO_MANY] == 180)
        assert here.counted == (1, 20)
        with here.connect("127.0.0.4") as honest:
            assert b"hello" in said(honest, HEAD + b"Authorization: Bearer 8\r\n\r\n")
        assert b"hello" in said(known, HEAD + b"\r\n")
    finally:
        for each in (known, *flood):
            each.close()
    eventually(lambda: here.counted == (0, 0))


def test_a_tls_handshake_that_does_not_come_is_counted_and_not_waited_for(opened: Opened, tmp_path: Path) -> None:
    certificate, private = written(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, private)
    here = opened(QUICK, tls=tls)
    with here.connect() as silent, here.connect() as plain:
        eventually(lambda: here.counted == (0, 2))
        plain.sendall(HEAD + b"\r\n")
        assert is_closed(plain)
        assert is_closed(silent)
    eventually(lambda: here.counted == (0, 0))


def test_too_many_handshakes_are_cut_off_like_anything_else(opened: Opened, tmp_path: Path) -> None:
    certificate, private = written(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, private)
    here = opened(PATIENT, tls=tls)
    doors = [here.connect() for _ in range(60)]
    try:
        eventually(lambda: here.connections.closed_for[TOO_MANY] == 40)
        assert here.counted == (0, 20)
        trusting = ssl.create_default_context(cafile=str(certificate))
        with trusting.wrap_socket(here.connect(), server_hostname="127.0.0.1") as door:
            assert b"hello" in said(door, HEAD + b"Authorization: Bearer 8\r\n\r\n")
    finally:
        for each in doors:
            each.close()


def test_a_unix_socket_counts_by_user_and_has_the_same_limits(opened: Opened, tmp_path: Path) -> None:
    here = opened(PATIENT, tmp_path / "t.sock")
    doors = [here.connect() for _ in range(60)]
    try:
        eventually(lambda: here.connections.closed_for[TOO_MANY] == 40)
        assert len(here.connections._strangers_of) == 1
        assert b"hello" in said(doors[-1], HEAD + b"Authorization: Bearer 8\r\n\r\n")
        assert here.counted == (1, 19)
    finally:
        for each in doors:
            each.close()


def test_a_stop_answers_who_is_there_and_lets_nobody_in(opened: Opened) -> None:
    here = opened(PATIENT)
    with here.connect() as door:
        assert b"hello" in said(door, HEAD + b"\r\n")
        here.thread.submit(here.door.close()).result(BOUND)
        assert is_closed(door)
    with pytest.raises(OSError, match="refused"):
        here.connect()
