"""Heads of a provider's answers: real ones, spoilt, in pieces over a real connection."""

import gzip
from collections import deque
from functools import cache

from hypothesis import strategies as st

from tasks.oauth.answer import Response, Silence
from tasks.oauth.answer_size import ANSWER_LIMIT
from tests.fuzz.door import Door
from tests.fuzz.spoiling import PLACES, SOME_PIECE, Damage, cuts, damaged, damages
from tests.raw_servers import OK, Bench, Peer, Server, keep_answering

BODY = b'{"access_token":"at-Pq7RtUw5XyB4nMc0VdHs","refresh_token":"rt-Hs8QwErTyU3iOpAs9DfG"}'
INFLATED = gzip.compress(BODY, mtime=0)
CHUNKS = b"%x\r\n%b\r\n" % (10, BODY[:10]) + b"%x;a=b\r\n%b\r\n0\r\nTrailer: x\r\n\r\n" % (len(BODY) - 10, BODY[10:])
ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(INFLATED), INFLATED),
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.0 200 OK\r\nConnection: close\r\n\r\n" + BODY,
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 503 Unavailable\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nbusy",
    b"HTTP/1.1 204 No Content\r\n\r\n",
)
WHOLE = 4  # of those above: their token set is the whole answer
LINES = (
    *SOME_PIECE,
    *(
        b"\r\nContent-Length: 3\r\n",
        b"\r\nTransfer-Encoding: chunked\r\n",
        b"\r\nX: " + b"y" * 20_000 + b"\r\n",
        b"\r\n" + b"A: b\r\n" * 300,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 200,
        b"\r\n folded\r\n",
        b"\r\nContent-Encoding: deflate, gzip\r\n",
        b"\r\nContent-Encoding: br\r\n",
        b"\r\nUpgrade: h2c\r\nConnection: upgrade\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/9.9 999 \r\n",
        b"ffffffffffffffff\r\n",
        b"\r\n\r\n",
    ),
)
Told = tuple[int, bytes, list[int]]


class Saying:
    """One server that says what is next in its queue, an honest one beside it, and the sender to try on them."""

    def __init__(self) -> None:
        self.bench, self.next = Bench(), deque[list[bytes]]()
        self.server: Server = self.bench.serve(self.behave)
        self.honest: Server = self.bench.serve(keep_answering)

    async def behave(self, peer: Peer) -> None:
        if await peer.request():
            await peer.say(*(self.next.popleft() if self.next else [OK]))


@cache
def saying() -> Saying:
    return Saying()


def spoilt(number: int, hits: list[Damage], places: list[int]) -> Told:
    """An answer, and where it is cut into pieces."""
    raw = damaged(ANSWERS[number], hits)
    return number, raw, sorted({place * len(raw) // PLACES for place in places})


def check(told: Told) -> None:
    """It is an answer or a silence, of bounded size; what nobody spoilt is whole; and the next one is heard."""
    number, raw, ends = told
    here = saying()
    here.next.append([raw[start:end] for start, end in zip([0, *ends], [*ends, len(raw)], strict=True) if start < end])
    answer = here.bench.ask(here.server.url())
    here.next.clear()
    assert isinstance(answer, Response | Silence)
    assert not isinstance(answer, Response) or len(answer.body) <= ANSWER_LIMIT
    if number < WHOLE and raw == ANSWERS[number]:
        assert isinstance(answer, Response)
        assert (answer.status, answer.body) == (200, BODY)
    after = here.bench.ask(here.honest.url())
    assert isinstance(after, Response)
    assert (after.status, after.body) == (200, b"{}")


DOOR = Door(
    "provider heads",
    st.builds(
        spoilt,
        st.integers(0, len(ANSWERS) - 1),
        damages(lambda: LINES),
        cuts(),
    ),
    check,
)


def test_whatever_a_server_says_is_an_answer_or_a_silence_and_the_next_is_heard() -> None:
    DOOR.knock()
    saying().bench.close()
    saying.cache_clear()
