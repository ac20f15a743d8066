"""The sender against servers that say too much: an answer has a size, and it is counted as it comes."""

import asyncio
import gzip
import itertools
import tracemalloc
from collections.abc import Iterator

import pytest

from tasks.oauth.answer import NotSent, Response, Silence
from tasks.oauth.answer_size import ANSWER_LIMIT, LINE_LIMIT, LINES_LIMIT, PIECE
from tests.raw_servers import BOUND, OK, SHORT, Behaviour, Bench, Peer, answering, keep_answering

LITTLE_MORE = 17 * 1024  # bytes of a line
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SOME_MEGABYTES = 10_000_000


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def head(*lines: bytes, body: bytes = b"{}") -> bytes:
    return b"\r\n".join((b"HTTP/1.1 200 OK", *lines, b"Content-Length: %d" % len(body), b"", body))


def line(size: int) -> bytes:
    """A header line whose name and value have so many bytes."""
    name = b"Content-Security-Policy"
    return name + b": " + b"x" * (size - len(name))


def endless(start: bytes, *pieces: bytes) -> Behaviour:
    """Read one request, say `start`, and then `pieces` again and again."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.say(start)
        for piece in itertools.cycle(pieces):
            await peer.say(piece)

    return behave


# ── what is taken ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [12 * 1024, LINE_LIMIT])
def test_a_line_that_real_servers_send_is_taken(bench: Bench, size: int) -> None:
    """A Content-Security-Policy alone may be longer than the 8190 bytes that aiohttp allows a line."""
    server = bench.serve(answering(head(line(size))))

    answer = bench.ask(server.url())

    assert isinstance(answer, Response)
    assert (answer.status, answer.body) == (200, b"{}")
    assert len(answer.headers["content-security-policy"]) == size - len("content-security-policy")


def test_a_hundred_lines_are_taken(bench: Bench) -> None:
    lines = [b"X-Trace-%d: y" % number for number in range(LINES_LIMIT - 1)]  # and Content-Length
    server = bench.serve(answering(head(*lines)))

    answer = bench.ask(server.url())

    assert isinstance(answer, Response)
    assert answer.headers["x-trace-98"] == "y"


@pytest.mark.parametrize("more", [0, 1])
def test_the_limit_of_the_whole_answer_is_exact(bench: Bench, more: int) -> None:
    empty = head(body=b"x" * 100_000)
    body = b"x" * (100_000 + ANSWER_LIMIT + more - len(empty))
    server = bench.serve(answering(head(body=body)))

    answer = bench.ask(server.url())

    assert isinstance(answer, Silence if more else Response)
    assert getattr(answer, "body", body) == body


def test_each_answer_of_a_kept_connection_is_counted_by_itself(bench: Bench) -> None:
    async def behave(peer: Peer) -> None:
        while await peer.request():
            await peer.say(head(body=b"x" * 100_000))

    server = bench.serve(behave)

    answers = [bench.ask(server.url()) for _ in range(3)]

    assert [type(answer) for answer in answers] == [Response] * 3
    assert server.connections == 1


def test_what_was_whole_before_too_much_came_is_an_answer(bench: Bench) -> None:
    """It may hold the only copy of a token."""
    server = bench.serve(answering(OK * (2 * ANSWER_LIMIT // len(OK))))

    assert bench.ask(server.url()) == Response(200, {"content-length": "2"}, b"{}")
    assert bench.ask(bench.serve(keep_answering).url()) == Response(200, {"content-length": "2"}, b"{}")


# ── what is too much ────────────────────────────────────────────────────────────────────────────────────────────

TOO_LARGE = {
    "a line of 17 KiB": answering(head(line(LITTLE_MORE))),
    "a name of 17 KiB": answering(head(b"x" * LITTLE_MORE + b": y")),
    "a status line of 17 KiB": answering(b"HTTP/1.1 200 " + b"x" * LITTLE_MORE + b"\r\n\r\n"),
    "101 lines": answering(head(*(b"X-%d: y" % number for number in range(LINES_LIMIT)))),
    "a head of 129 KiB": answering(head(*[line(LINE_LIMIT - 100)] * 9)),
    "head and body of 129 KiB": answering(head(*[line(LINE_LIMIT - 100)] * 4, body=b"x" * 66_000)),
    "an endless line": endless(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 1000),
    "a value after endless blanks": endless(b"HTTP/1.1 200 OK\r\nX:", b" " * 1000),
    "endless lines": endless(b"HTTP/1.1 200 OK\r\n", b"X-Padding: " + b"x" * 1000 + b"\r\n"),
    "endless short lines": endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "endless interim answers": endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    "endless short interim answers": endless(b"", b"HTTP/1.1 100 \r\n\r\n"),
    "an endless body": endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 10_000),
    "an announced body": endless(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n", b"x" * 10_000),
    "endless chunks of a byte": endless(CHUNKED, b"1\r\nx\r\n" * 1000),
    "an endless chunk extension": endless(CHUNKED + b"1;x=", b"y" * 1000),
    # The head is read before too many trailers are: what the parser refuses in one piece it gives nothing of.
    "endless trailers": endless(CHUNKED + b"%x\r\n%b\r\n0\r\n" % (PIECE, b"x" * PIECE), b"X: y\r\n"),
    "an endless trailer": endless(CHUNKED + b"2\r\n{}\r\n0\r\nX: ", b"y" * 1000),
}


@pytest.mark.parametrize("what", TOO_LARGE)
def test_the_connection_is_cut_where_an_answer_is_too_large(bench: Bench, what: str) -> None:
    server = bench.serve(TOO_LARGE[what])

    answer = bench.ask(server.url())

    assert isinstance(answer, Silence)
    assert answer.code == "too_large"
    assert answer.status == (200 if "body" in what or "chunk" in what or "trailer" in what else answer.status)
    bench.until_ended(server)
    assert len(server.requests) == 1


def test_another_protocol_that_nobody_asked_for_is_an_answer_and_the_connection_ends(bench: Bench) -> None:
    server = bench.serve(endless(b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", b"x" * 1000))

    answer = bench.ask(server.url())

    assert isinstance(answer, Response)
    assert answer.status == 101
    bench.until_ended(server)


def test_a_gzip_bomb_is_not_blown_up(bench: Bench) -> None:
    bomb = gzip.compress(b"0" * 20_000_000)
    lines = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    server = bench.serve(answering(lines + bomb))
    assert len(bomb) < ANSWER_LIMIT // 2

    tracemalloc.start()
    answer = bench.ask(server.url())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert isinstance(answer, Silence)
    assert answer.code == "too_large"
    assert peak < SOME_MEGABYTES


def test_many_interim_answers_in_one_piece_take_no_megabytes(bench: Bench) -> None:
    """Each is 17 bytes on the wire and a kilobyte once it is parsed."""
    server = bench.serve(answering(b"HTTP/1.1 100 \r\n\r\n" * 60_000))

    tracemalloc.start()
    answer = bench.ask(server.url())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert isinstance(answer, Silence)
    assert answer.code == "too_large"
    assert peak < SOME_MEGABYTES


def test_a_head_that_drips_within_every_limit_ends_with_the_deadline(bench: Bench) -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        for byte in itertools.cycle(b"HTTP/1.1 103 Early Hints\r\n\r\n"):
            await peer.say(bytes([byte]))
            await asyncio.sleep(0.02)

    server = bench.serve(behave)

    assert bench.ask(server.url(), deadline=SHORT) == Silence("timeout")
    bench.until_ended(server)


def test_what_is_said_on_an_idle_connection_is_counted_too(bench: Bench) -> None:
    idle = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.say(OK)
        await idle.wait()
        while True:
            await peer.say(b"HTTP/1.1 408 Idle\r\nX-Padding: " + b"x" * 10_000 + b"\r\nContent-Length: 0\r\n\r\n")

    async def speak() -> None:
        idle.set()
        await asyncio.wait_for(server.ended.acquire(), BOUND)

    server = bench.serve(behave)
    bench.ask(server.url())
    bench.thread.submit(speak()).result(BOUND)

    assert not isinstance(bench.ask(server.url()), NotSent)  # on a new connection
