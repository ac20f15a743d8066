"""Heads of requests to a listener of ours: good ones, spoilt, over real sockets."""

import socket
from functools import cache
from urllib.parse import urlsplit

from aiohttp import web
from hypothesis import strategies as st

from tasks.oauth.loop_thread import LoopThread
from tests.fuzz.door import Door
from tests.fuzz.spoiling import PLACES, SOME_PIECE, Damage, cuts, damaged, damages
from tests.polling import eventually
from worker.web.connections import Connections, Limits
from worker.web.door import Door as Listener

BOUND = 20  # seconds
PATIENCE = 0.02  # until we give up hoping for an answer to half a request
GOOD = b"GET /v1/token?ref=customer-1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n\r\n"
REQUESTS = (
    GOOD,
    b'POST /v1/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"ref":"x"}',
    b"POST /v1/token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    GOOD + GOOD,
    b"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
)
LINES = (
    *SOME_PIECE,
    *(
        b"\r\nContent-Length: 3\r\n",
        b"\r\nContent-Length: 99999999999999999999\r\n",
        b"\r\nTransfer-Encoding: chunked\r\n",
        b"\r\nX: " + b"y" * 20_000 + b"\r\n",
        b"\r\n" + b"A: b\r\n" * 300,
        b"\r\nExpect: 100-continue\r\n",
        b"\r\nUpgrade: websocket\r\nConnection: upgrade\r\n",
        b"\r\nHost: y\r\n",
        b" http://[::1/ ",
        b"/" * 9000,
        b"%00%ff%",
        b"\r\n\r\n",
    ),
)
Told = tuple[bytes, list[int]]


class Here:
    """A listener of ours that is open, before an application that reads what it is given."""

    def __init__(self) -> None:
        self.connections, self.thread, self.url = Connections(Limits(40, 20)), LoopThread("door"), ""
        self.thread.submit(self.make()).result(BOUND)

    async def make(self) -> None:
        app = web.Application()
        app.add_routes([web.route("*", "/{rest:.*}", answer)])
        self.door = Listener(app, self.connections)
        await self.door.set_up()
        self.url = await self.door.open(("127.0.0.1", 0), None, variable="EVERGRANT_TOKEN_BIND")

    def close(self) -> None:
        self.thread.close(self.door.close())


async def answer(request: web.Request) -> web.Response:
    return web.Response(text=f"hello {len(await request.read())} {len(request.query)} {len(request.headers)}")


@cache
def here() -> Here:
    return Here()


def spoilt(request: bytes, hits: list[Damage], places: list[int]) -> Told:
    """A request, and where it is cut into pieces."""
    raw = damaged(request, hits)
    return raw, sorted({place * len(raw) // PLACES for place in places})


def said(pieces: list[bytes], patience: float) -> bytes:
    """All that is answered, until the other side has closed; we say that it was all when nothing comes any more."""
    place = urlsplit(here().url)
    answered = b""
    with socket.create_connection((place.hostname or "", place.port or 0), BOUND) as line:
        try:
            for piece in pieces:
                line.sendall(piece)
            line.settimeout(patience)
            answered += heard_on(line)
            line.settimeout(BOUND)
            line.shutdown(socket.SHUT_WR)
            while got := heard_on(line):
                answered += got
        except OSError:
            pass  # it has heard enough
    return answered


def heard_on(line: socket.socket) -> bytes:
    try:
        return line.recv(65536)
    except TimeoutError:
        return b""


def check(told: Told) -> None:
    """It is answered as HTTP or closed, with no fault of ours; and the next request is answered."""
    raw, ends = told
    heard = said(
        [raw[start:end] for start, end in zip([0, *ends], [*ends, len(raw)], strict=True) if start < end], PATIENCE
    )
    assert not heard or heard.startswith(b"HTTP/")
    assert b" 500 " not in heard.partition(b"\r\n")[0]
    assert said([GOOD.replace(b"Host: x", b"Host: x\r\nConnection: close")], BOUND).startswith(b"HTTP/1.1 200 ")
    eventually(lambda: (here().connections.known, here().connections.strangers) == (0, 0), every=0.001)


DOOR = Door(
    "web heads",
    st.builds(
        spoilt,
        st.sampled_from(REQUESTS),
        damages(lambda: LINES),
        cuts(),
    ),
    check,
    examples=100,
)


def test_whatever_is_said_to_a_listener_the_next_request_is_answered() -> None:
    DOOR.knock()
    here().close()
    here.cache_clear()
