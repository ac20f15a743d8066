"""The sender against real sockets on loopback: whole answers, what never left, thread and process."""

import asyncio
import gzip
import resource
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from queue import SimpleQueue

import pytest

from tasks.oauth import transport
from tasks.oauth.answer import Guard, HeldBack, NotSent, Response, Silence
from tasks.oauth.messages import Request
from tasks.oauth.transport import Transport
from tests.certificates import self_signed
from tests.raw_servers import BOUND, LONG, OK, SHORT, Bench, Peer, answering, hang, keep_answering


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


# ── what a whole answer is ──────────────────────────────────────────────────────────────────────────────────────


def test_an_answer_comes_back_whole_with_lower_case_header_names(bench: Bench) -> None:
    server = bench.serve(
        answering(b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nRETRY-AFTER: 9\r\nContent-Length: 2\r\n\r\n{}")
    )

    answer = bench.ask(server.url())

    assert isinstance(answer, Response)
    assert (answer.status, answer.headers["retry-after"], answer.body) == (429, "7", b"{}")


def test_the_request_arrives_as_it_was_built_and_asks_for_no_compression(bench: Bench) -> None:
    server = bench.serve(keep_answering)

    bench.ask(server.url(), body=b"a=%2B", headers={"Content-Type": "application/x-www-form-urlencoded"})

    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /oauth/token?x=1 HTTP/1.1\r\n")
    assert b"Accept-Encoding: identity" in head
    assert b"Content-Type: application/x-www-form-urlencoded" in head
    assert b"cookie" not in head.lower()
    assert body == b"a=%2B"


def test_a_kept_connection_is_used_again(bench: Bench) -> None:
    server = bench.serve(keep_answering)

    answers = [bench.ask(server.url()) for _ in range(3)]

    assert answers == [answers[0]] * 3
    assert (server.connections, len(server.requests)) == (1, 3)


def test_cookies_are_never_kept(bench: Bench) -> None:
    async def behave(peer: Peer) -> None:
        while await peer.request():
            await peer.say(b"HTTP/1.1 200 OK\r\nSet-Cookie: session=1; Path=/\r\nContent-Length: 0\r\n\r\n")

    server = bench.serve(behave)
    bench.ask(server.url())
    bench.ask(server.url())

    assert b"cookie" not in server.requests[1].lower()


def test_a_redirect_is_an_answer_and_is_not_followed(bench: Bench) -> None:
    elsewhere = bench.serve(keep_answering)
    location = elsewhere.url().encode()
    server = bench.serve(answering(b"HTTP/1.1 307 Go\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n"))

    answer = bench.ask(server.url())

    assert isinstance(answer, Response)
    assert answer.status == 307
    assert elsewhere.connections == 0


def test_interim_answers_are_passed_over(bench: Bench) -> None:
    server = bench.serve(answering(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n", OK))

    assert bench.ask(server.url()) == Response(200, {"content-length": "2"}, b"{}")


def test_an_answer_that_ends_with_the_connection_is_whole(bench: Bench) -> None:
    server = bench.serve(answering(b"HTTP/1.0 200 OK\r\n\r\n", b'{"a"', b":1}"))

    answer = bench.ask(server.url())

    assert isinstance(answer, Response)
    assert answer.body == b'{"a":1}'


def test_a_compressed_answer_that_nobody_asked_for_is_still_read(bench: Bench) -> None:
    squeezed = gzip.compress(b'{"access_token":"a"}')
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(squeezed)
    server = bench.serve(answering(head + squeezed))

    answer = bench.ask(server.url())

    assert isinstance(answer, Response)
    assert answer.body == b'{"access_token":"a"}'


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"br", b"nonsense"])
def test_what_cannot_be_decompressed_comes_back_as_it_was_sent(bench: Bench, encoding: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: " + encoding + b"\r\nContent-Length: 5\r\n\r\n"
    server = bench.serve(answering(head + b"plain"))

    answer = bench.ask(server.url())

    assert isinstance(answer, Response)
    assert answer.body == b"plain"


# ── what provably never left ────────────────────────────────────────────────────────────────────────────────────


def test_a_refused_connection_is_not_sent(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    assert bench.ask(f"http://127.0.0.1:{port}/") == NotSent("connect_refused")


def test_a_request_that_cannot_be_written_opens_no_connection(bench: Bench) -> None:
    server = bench.serve(keep_answering)

    assert bench.ask(server.url(), headers={"X-API-ORG": "1\r\nEvil: yes"}) == NotSent("bad_request")
    assert bench.ask(server.url() + " HTTP/1.1\r\nEvil: yes") == NotSent("bad_request")
    assert server.connections == 0


def refuse() -> HeldBack:
    return HeldBack("shut")


def fail() -> HeldBack:
    raise RuntimeError


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("kept", [False, True], ids=["new connection", "kept connection"])
@pytest.mark.parametrize(("guard", "why"), [(refuse, "shut"), (fail, "guard_failed_RuntimeError")])
def test_a_guard_that_says_no_or_fails_lets_no_byte_out_and_gives_the_connection_up(
    bench: Bench, method: str, kept: bool, guard: Guard, why: str
) -> None:
    server = bench.serve(keep_answering)
    before = int(kept)
    for _ in range(before):
        bench.ask(server.url())

    answer = bench.ask(server.url(), method=method, guard=guard)

    assert answer == HeldBack(why)
    bench.until_ended(server)
    assert (server.connections, len(server.requests), server.leftovers) == (1, before, [b""])


def test_a_request_that_was_written_without_asking_the_guard_is_never_called_not_sent(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a later aiohttp might write a body: what was sent must not be sent once more."""
    monkeypatch.delattr(transport._Body, "write_with_length")
    server = bench.serve(answering(b"", then_reset=True))

    assert isinstance(bench.ask(server.url(), method="POST", guard=refuse), Silence)
    assert len(server.requests) == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_guard_is_asked_once_on_the_open_connection(bench: Bench, method: str) -> None:
    server = bench.serve(keep_answering)
    seen: list[tuple[int, int]] = []

    for _ in range(2):
        bench.ask(server.url(), method=method, guard=lambda: seen.append((server.connections, len(server.requests))))

    assert [requests for _, requests in seen] == [0, 1]
    assert len(server.requests) == 2


def test_a_certificate_that_the_system_does_not_trust_is_not_sent_to(bench: Bench, tmp_path: Path) -> None:
    tls, _ = self_signed(tmp_path)
    server = bench.serve(keep_answering, tls)

    assert bench.ask(server.url("https")) == NotSent("tls_certificate", shape="unknown_issuer")
    assert server.requests == []


def test_a_certificate_that_has_ended_is_told_from_one_that_nobody_trusts(bench: Bench, tmp_path: Path) -> None:
    tls, pem = self_signed(tmp_path, lives=-timedelta(days=1))
    server = bench.serve(keep_answering, tls)
    bench.transport = Transport(tls=ssl.create_default_context(cafile=str(pem)), keep_alive=LONG)

    assert bench.ask(server.url("https")) == NotSent("tls_certificate", shape="ended")
    assert server.requests == []


def test_a_trusted_certificate_is_sent_to(bench: Bench, tmp_path: Path) -> None:
    tls, pem = self_signed(tmp_path)
    server = bench.serve(keep_answering, tls)
    bench.transport = Transport(tls=ssl.create_default_context(cafile=str(pem)), keep_alive=LONG)

    answers = [bench.ask(server.url("https")) for _ in range(2)]

    assert [type(answer) for answer in answers] == [Response, Response]
    assert server.connections == 1


def test_a_certificate_for_another_host_is_not_sent_to(bench: Bench, tmp_path: Path) -> None:
    tls, pem = self_signed(tmp_path)
    server = bench.serve(keep_answering, tls)
    bench.transport = Transport(tls=ssl.create_default_context(cafile=str(pem)), keep_alive=LONG)

    assert bench.ask(server.url("https").replace("127.0.0.1", "localhost")) == NotSent(
        "tls_certificate", shape="other_name"
    )


def test_a_server_that_does_not_speak_tls_is_not_sent_to(bench: Bench) -> None:
    async def behave(peer: Peer) -> None:
        await peer.reader.read(1)
        await peer.say(OK)

    server = bench.serve(behave)

    assert bench.ask(server.url("https")) == NotSent("tls")


def test_a_handshake_that_hangs_is_not_sent(bench: Bench) -> None:
    async def behave(peer: Peer) -> None:
        await peer.reader.read()

    server = bench.serve(behave)

    assert bench.ask(server.url("https"), deadline=SHORT) == NotSent("connect_timeout")


def test_a_handshake_that_is_cut_is_not_sent(bench: Bench) -> None:
    async def behave(peer: Peer) -> None:
        await peer.reader.read(1)
        peer.reset()

    server = bench.serve(behave)

    assert isinstance(bench.ask(server.url("https")), NotSent)


# ── the thread and the process ──────────────────────────────────────────────────────────────────────────────────


def test_hundreds_of_requests_are_under_way_at_once(bench: Bench) -> None:
    many = 300
    together = asyncio.Barrier(many)

    async def behave(peer: Peer) -> None:
        await peer.request()
        await together.wait()
        await peer.say(OK)

    server = bench.serve(behave)
    request = Request("POST", server.url(), {}, b"x")

    sending = [bench.transport.submit(bench.transport.send(request, deadline=LONG)) for _ in range(many)]

    assert {type(sent.result(BOUND)) for sent in sending} == {Response}


def test_launched_requests_are_all_sent_however_many_are_launched_at_once(bench: Bench) -> None:
    many = 300
    server = bench.serve(keep_answering)
    request = Request("POST", server.url(), {}, b"x")
    answers: SimpleQueue[object] = SimpleQueue()

    async def ask() -> None:
        answers.put(await bench.transport.send(request, deadline=LONG))

    for _ in range(many):
        bench.transport.launch(ask())

    assert {type(answers.get(timeout=BOUND)) for _ in range(many)} == {Response}


def test_closing_cancels_what_was_launched(bench: Bench) -> None:
    server = bench.serve(hang)
    ended: SimpleQueue[str] = SimpleQueue()

    async def ask() -> None:
        try:
            await bench.transport.send(Request("POST", server.url(), {}, b"x"), deadline=LONG)
        except asyncio.CancelledError:
            ended.put("cancelled")
            raise

    bench.transport.launch(ask())
    bench.transport.submit(asyncio.sleep(0)).result(BOUND)
    bench.transport.close()

    assert ended.get(timeout=BOUND) == "cancelled"


def test_closing_cancels_what_is_under_way_and_may_be_repeated(bench: Bench) -> None:
    server = bench.serve(hang)
    sending = bench.transport.submit(bench.transport.send(Request("POST", server.url(), {}, b"x"), deadline=LONG))

    bench.transport.close()
    bench.transport.close()

    assert sending.cancelled()


def test_a_closed_transport_starts_again_when_it_is_asked(bench: Bench) -> None:
    server = bench.serve(keep_answering)
    bench.ask(server.url())
    bench.transport.close()

    assert isinstance(bench.ask(server.url()), Response)


def test_where_no_file_can_be_opened_any_more_that_is_ours_and_nothing_was_sent(bench: Bench) -> None:
    server, second = bench.serve(keep_answering), bench.serve(keep_answering)
    assert isinstance(bench.ask(server.url()), Response)  # the loop is there, and a connection to the first
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        answer = bench.ask(second.url())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert answer == HeldBack("open_files")
    assert isinstance(bench.ask(second.url()), Response)


FORK = """
import os, sys
from datetime import timedelta
from tasks.oauth.messages import Request
from tasks.oauth.answer import Response
from tasks.oauth.transport import Transport

transport = Transport()

def ask():
    sending = transport.send(Request("POST", sys.argv[1], {}, b"x"), deadline=timedelta(seconds=20))
    return isinstance(transport.submit(sending).result(30), Response)

assert ask()
child = os.fork()
if child == 0:
    os._exit(0 if ask() and ask() else 1)
assert ask()
assert os.waitpid(child, 0)[1] == 0
assert ask()
transport.close()
"""


def test_a_forked_child_has_a_loop_and_connections_of_its_own(bench: Bench) -> None:
    server = bench.serve(keep_answering)
    root = Path(__file__).parents[2]

    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK, server.url()],
        cwd=root,
        timeout=BOUND,
        check=False,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(root)},
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert len(server.requests) == 5
