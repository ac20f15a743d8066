"""The sender against servers that frame an answer wrongly: a whole token set is kept, and nothing else gains by it."""

import asyncio
import gzip
import json
import zlib
from collections.abc import Iterator
from datetime import timedelta

import pytest

from tasks.oauth import messages
from tasks.oauth.answer import Answer, Response, Silence
from tasks.oauth.answer_size import ANSWER_LIMIT
from tasks.oauth.messages import Registration
from tasks.oauth.provider import Provider
from tasks.oauth.token_paths import TokenPaths
from tests.raw_servers import BOUND, LONG, SHORT, Behaviour, Bench, Peer, Server, answering

SET = b'{"access_token":"acc-1","refresh_token":"ref-1","expires_in":3600}'
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
NESTED = json.dumps({"data": {"token": "acc-1", "refresh": "ref-1"}}).encode()
PATHS = TokenPaths(access_token=("data.token",), refresh_token=("data.refresh",))


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def refresh(bench: Bench, server: Server, *, deadline: timedelta = LONG, paths: TokenPaths | None = None) -> Answer:
    provider = Provider(name="raw", token_url=server.url(), token_set=paths or TokenPaths())
    request = messages.refresh(Registration(provider, "id", "s3cret"), refresh_token="r")
    return bench.transport.submit(bench.transport.send(request, deadline=deadline)).result(BOUND)


def length(size: int) -> bytes:
    return OK + b"Content-Length: %d\r\n\r\n" % size


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


def holding(*pieces: bytes) -> Behaviour:
    """Say `pieces`, and keep the connection open."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.say(*pieces)
        await peer.reader.read()

    return behave


# ── whose end never comes ───────────────────────────────────────────────────────────────────────────────────────

ENDLESS = {
    "a length of more bytes": length(len(SET) + 5) + SET,
    "no last chunk": CHUNKED + chunk(SET),
    "two chunks and no last one": CHUNKED + chunk(SET[:9]) + chunk(SET[9:]),
    "within the chunk's end": CHUNKED + chunk(SET)[:-1],
    "no end behind the last chunk": CHUNKED + chunk(SET) + b"0\r\n",
    "a chunk of no size": CHUNKED + chunk(SET) + b"zzz\r\n",
    "a BOM": length(len(SET) + 9) + b"\xef\xbb\xbf" + SET,
    "inflated": OK + b"Content-Encoding: gzip\r\n" + CHUNKED[len(OK) :] + chunk(gzip.compress(SET)),
    "without gzip's trailer": OK + b"Content-Encoding: gzip\r\nContent-Length: 999\r\n\r\n" + gzip.compress(SET)[:-8],
    "and blanks without end": CHUNKED + chunk(SET + b" " * ANSWER_LIMIT),
}


def body(answer: Answer) -> bytes:
    assert isinstance(answer, Response), answer
    assert answer.status == 200
    return answer.body.strip().removeprefix(b"\xef\xbb\xbf")


@pytest.mark.parametrize("what", ENDLESS)
def test_a_whole_token_set_is_an_answer_though_its_end_never_came(bench: Bench, what: str) -> None:
    """It may be the only copy."""
    assert body(refresh(bench, bench.serve(answering(ENDLESS[what])))) == SET


@pytest.mark.parametrize("what", ENDLESS)
def test_a_whole_token_set_is_an_answer_where_the_connection_stays_open(bench: Bench, what: str) -> None:
    assert body(refresh(bench, bench.serve(holding(ENDLESS[what])), deadline=SHORT)) == SET


def test_a_whole_token_set_without_a_length_on_an_open_connection_is_an_answer(bench: Bench) -> None:
    assert body(refresh(bench, bench.serve(holding(OK + b"\r\n" + SET)), deadline=SHORT)) == SET


@pytest.mark.parametrize("what", ["a length of more bytes", "no last chunk"])
def test_a_whole_token_set_that_was_read_before_a_reset_is_an_answer(bench: Bench, what: str) -> None:
    read = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.say(ENDLESS[what])
        await read.wait()
        peer.reset()

    async def reset() -> None:
        read.set()

    server = bench.serve(behave)
    provider = Provider(name="raw", token_url=server.url())
    request = messages.refresh(Registration(provider, "id", "s3cret"), refresh_token="r")
    asking = bench.transport.submit(bench.transport.send(request, deadline=LONG))
    bench.ask(bench.serve(answering(length(2) + b"{}")).url())  # meanwhile our loop reads what is there
    bench.thread.submit(reset()).result(BOUND)

    assert body(asking.result(BOUND)) == SET


def test_a_token_set_is_known_by_the_paths_of_its_provider(bench: Bench) -> None:
    server = bench.serve(answering(CHUNKED + chunk(NESTED)))

    assert body(refresh(bench, server, paths=PATHS)) == NESTED
    assert isinstance(refresh(bench, server), Silence)


NO_TOKEN_SETS = {
    "cut": SET[:-1],
    "cut within its outer object": b'{"data":' + SET,
    "cut behind a whole one": SET + b',{"access',
    "an error": b'{"error":"invalid_grant"}',
    "nothing": b"{}",
    "a form": b"access_token=acc-1&refresh_token=ref-",
    "text": b"access_token",
    "no bytes": b"",
}


@pytest.mark.parametrize("what", NO_TOKEN_SETS)
def test_what_is_no_whole_token_set_is_silence_where_its_end_never_came(bench: Bench, what: str) -> None:
    cut = length(999) + NO_TOKEN_SETS[what]

    assert refresh(bench, bench.serve(answering(cut))) == Silence("truncated", 200, {"content-length": "999"})
    assert refresh(bench, bench.serve(holding(cut)), deadline=SHORT) == Silence(
        "timeout", 200, {"content-length": "999"}
    )


def test_a_body_that_is_framed_wrongly_is_not_waited_for(bench: Bench) -> None:
    said = CHUNKED + chunk(b"{}") + b"zzz\r\n"

    for behaviour in (answering(said), holding(said)):
        answer = refresh(bench, bench.serve(behaviour))
        assert isinstance(answer, Silence)
        assert (answer.code, answer.status) == ("truncated", 200)


def test_a_refusal_or_a_redirect_whose_end_never_came_is_silence_whatever_it_holds(bench: Bench) -> None:
    for status in (b"400 Bad Request", b"302 Found", b"500 Oops"):
        said = length(999).replace(b"200 OK", status) + SET
        assert isinstance(refresh(bench, bench.serve(answering(said))), Silence)


def test_only_what_is_asked_for_a_token_set_is_searched_for_one(bench: Bench) -> None:
    """An API that is asked whether a token lives says nothing by half an answer."""
    assert isinstance(bench.ask(bench.serve(answering(ENDLESS["no last chunk"])).url()), Silence)


# ── what follows an answer ──────────────────────────────────────────────────────────────────────────────────────

FOLLOWED = {
    "junk": length(len(SET)) + SET + b"junk",
    "a stray last chunk": length(len(SET)) + SET + b"0\r\n\r\n",
    "junk behind the last chunk": CHUNKED + chunk(SET) + b"0\r\n\r\njunk",
    "junk after an interim answer": b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" + length(len(SET)) + SET + b"junk",
    "junk behind bare line ends": length(len(SET)).replace(b"\r\n", b"\n") + SET + b"junk",
}


@pytest.mark.parametrize("what", FOLLOWED)
def test_what_follows_a_whole_answer_is_not_its_own_wherever_it_is_cut_into_pieces(bench: Bench, what: str) -> None:
    said = FOLLOWED[what]

    for cut in [0, *range(len(said) - len(SET) - 24, len(said))]:
        assert body(refresh(bench, bench.serve(answering(*filter(None, (said[:cut], said[cut:])))))) == SET


def test_a_connection_on_which_something_followed_an_answer_is_not_used_again(bench: Bench) -> None:
    async def behave(peer: Peer) -> None:
        while await peer.request():
            await peer.say(FOLLOWED["junk"])

    server = bench.serve(behave)

    assert [body(refresh(bench, server)) for _ in range(3)] == [SET] * 3
    assert (server.connections, len(server.requests)) == (3, 3)


# ── codings ─────────────────────────────────────────────────────────────────────────────────────────────────────


def raw(body: bytes) -> bytes:
    return zlib.compress(body, wbits=-zlib.MAX_WBITS)


CODED = {
    "raw deflate": (b"Content-Encoding: deflate", raw(SET)),
    "gzip, identity": (b"Content-Encoding: gzip, identity", gzip.compress(SET)),
    "deflate, gzip": (b"Content-Encoding: deflate, gzip", gzip.compress(zlib.compress(SET))),
    "of two members": (b"Content-Encoding: gzip", gzip.compress(SET[:20]) + gzip.compress(SET[20:])),
    "padded": (b"Content-Encoding: gzip", gzip.compress(SET) + b"\0"),
    "without a trailer": (b"Content-Encoding: gzip", gzip.compress(SET)[:-8]),
    "without a header": (b"X: y", gzip.compress(SET)),
    "a header and no coding": (b"Content-Encoding: deflate", SET),
}


@pytest.mark.parametrize("what", CODED)
def test_codings_that_nobody_asked_for_are_undone(bench: Bench, what: str) -> None:
    line, coded = CODED[what]
    said = b"%s%s\r\nContent-Length: %d\r\n\r\n%s" % (OK, line, len(coded), coded)

    assert body(bench.ask(bench.serve(answering(said)).url())) == SET


def test_a_transfer_coding_below_chunked_is_undone(bench: Bench) -> None:
    said = OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + chunk(gzip.compress(SET)) + b"0\r\n\r\n"

    assert body(bench.ask(bench.serve(answering(said)).url())) == SET


@pytest.mark.parametrize("members", [b"", b"{}"])
def test_many_members_are_no_bomb(bench: Bench, members: bytes) -> None:
    """Each is twenty bytes, and costs a copy of all that follows it."""
    coded = gzip.compress(members) * 3000
    said = b"%sContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (OK, len(coded), coded)

    answer = bench.ask(bench.serve(answering(said)).url())

    assert isinstance(answer, Response)
    assert (answer.body, answer.is_encoded) == (coded, True)
