"""The sender against real sockets on loopback: what nobody can know, and kept connections."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from unittest.mock import ANY

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.oauth.answer import Answer, NotSent, Response, Silence
from tasks.oauth.messages import Request
from tasks.oauth.transport import Transport
from tests.raw_servers import BOUND, LONG, OK, SHORT, Bench, Peer, answering, hang, keep_answering


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


# ── what nobody can know ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_reset_before_the_request_was_read_is_silence(bench: Bench, method: str) -> None:
    async def behave(peer: Peer) -> None:
        await peer.reader.read(1)
        peer.reset()

    server = bench.serve(behave)

    assert bench.ask(server.url(), method=method) == Silence("reset")
    assert server.connections == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("rst", [True, False], ids=["RST", "FIN"])
def test_an_end_after_the_request_was_read_is_silence(bench: Bench, rst: bool, method: str) -> None:
    server = bench.serve(answering(then_reset=rst))

    assert bench.ask(server.url(), method=method) == Silence("reset")
    assert (server.connections, len(server.requests)) == (1, 1)


def test_half_a_head_is_silence(bench: Bench) -> None:
    server = bench.serve(answering(b"HTTP/1.1 200 OK\r\nContent-Le"))

    assert bench.ask(server.url()) == Silence("reset")


@pytest.mark.parametrize("rst", [True, False], ids=["RST", "FIN"])
@pytest.mark.parametrize(
    "pieces",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n", b'{"access'),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b'14\r\n{"access'),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\n{}\r\n"),
    ],
    ids=["length", "within a chunk", "between chunks"],
)
def test_half_a_body_is_silence_that_knows_the_status(bench: Bench, pieces: tuple[bytes, ...], rst: bool) -> None:
    server = bench.serve(answering(*pieces, then_reset=rst))

    answer = bench.ask(server.url())

    assert isinstance(answer, Silence)
    # An RST may throw away the head with the rest before we read it.
    assert (answer.code, answer.status) in [("truncated", 200)] + [("reset", None)] * rst


def test_a_server_that_hangs_ends_with_the_deadline(bench: Bench) -> None:
    server = bench.serve(hang)

    assert bench.ask(server.url(), deadline=SHORT) == Silence("timeout")
    bench.until_ended(server)
    assert len(server.requests) == 1


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 ", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 503 No\r\n\r\n"])
def test_a_dripping_answer_ends_with_the_deadline(bench: Bench, start: bytes) -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.say(start)
        while True:
            await peer.say(b"2")
            await asyncio.sleep(0.02)

    server = bench.serve(behave)

    answer = bench.ask(server.url(), deadline=SHORT)

    assert isinstance(answer, Silence)
    assert answer.code == "timeout"
    assert answer.status == (503 if b"503" in start else None)
    bench.until_ended(server)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    noise=st.binary(max_size=200),
    head=st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 ", b"HTTP/1.1 101 X\r\n"]),
)
def test_whatever_comes_back_is_an_answer(bench: Bench, noise: bytes, head: bytes) -> None:
    server = bench.serve(answering(head + noise))

    answer = bench.ask(server.url(), deadline=timedelta(seconds=2))

    assert isinstance(answer, Response | Silence)
    assert len(server.requests) == 1


# ── kept connections ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_kept_connection_that_dies_under_a_request_is_silence_and_nothing_is_repeated(
    bench: Bench, method: str
) -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.say(OK)
        await peer.request()  # and then the connection ends without an answer

    server = bench.serve(behave)
    bench.ask(server.url(), method=method)

    assert bench.ask(server.url(), method=method) == Silence("reset")
    assert (server.connections, len(server.requests)) == (1, 2)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_connection_closed_at_the_very_moment_of_reuse_never_makes_two_requests(bench: Bench, method: str) -> None:
    server = bench.serve(answering(OK))  # promises to keep the connection, and closes it

    for sent in range(1, 201):
        answer = bench.ask(server.url(), method=method)
        assert len(server.requests) <= sent
        if isinstance(answer, NotSent):
            assert answer.code == "connect"

    assert len(server.requests) <= 200


def test_an_idle_connection_is_given_up_before_the_server_might(bench: Bench) -> None:
    bench.transport = Transport()
    server = bench.serve(keep_answering)
    bench.ask(server.url())

    bench.until_ended(server)

    assert server.leftovers == [b""]


def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_one(bench: Bench) -> None:
    idle, said = asyncio.Event(), asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.say(OK)
        await idle.wait()
        await peer.say(b"HTTP/1.1 408 Idle\r\nContent-Length: 4\r\n\r\nidle")
        said.set()
        await peer.request()

    async def speak_while_idle() -> None:
        idle.set()
        await asyncio.wait_for(said.wait(), BOUND)

    server = bench.serve(behave)
    bench.ask(server.url())
    bench.thread.submit(speak_while_idle()).result(BOUND)
    bench.ask(bench.serve(keep_answering).url())  # meanwhile our loop reads what is there

    assert bench.ask(server.url()) == Response(200, headers=ANY, body=b"{}")
    assert (server.connections, len(server.requests)) == (2, 2)


UNASKED = {
    "a whole answer": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{1}",
    "half a head": b"HTTP/1.1 408 Idle\r\n",
    "a line's end": b"\r\n",
    "its end": b"",
}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("what", UNASKED)
def test_what_nobody_has_read_yet_of_an_idle_connection_is_no_answer_to_the_next_request(
    bench: Bench, method: str, what: str
) -> None:
    """It comes while our loop is busy, with two hundred other requests, say: what it does next is to write."""
    idle, said = asyncio.Event(), asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.say(OK)
        await idle.wait()
        await peer.say(UNASKED[what])
        if not UNASKED[what]:
            peer.writer.close()
            await peer.writer.wait_closed()
        said.set()
        await peer.request()

    async def speak_while_idle() -> None:
        idle.set()
        await asyncio.wait_for(said.wait(), BOUND)

    async def ask_twice(request: Request) -> list[Answer]:
        first = await bench.transport.send(request, deadline=LONG)
        await asyncio.sleep(0)  # the connection is given back
        bench.thread.submit(speak_while_idle()).result(BOUND)
        return [first, await bench.transport.send(request, deadline=LONG)]

    server = bench.serve(behave)
    asked = ask_twice(Request(method, server.url(), {}, b"x" if method == "POST" else b""))
    assert bench.transport.submit(asked).result(BOUND) == [Response(200, body=b"{}", headers=ANY)] * 2
    assert (server.connections, len(server.requests)) == (2, 2)
