"""An answer in pieces: wherever TCP cuts it, what it says is the same."""

import asyncio

import pytest

from tasks.oauth.answer_size import SizedAnswers

SET = b'{"access_token":"acc-1"}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(SET)
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(SET), SET)
FOLLOWED = {
    "junk": HEAD + SET + b"junk",
    "a stray last chunk": HEAD + SET + b"0\r\n\r\n",
    "junk behind the last chunk": CHUNKS + b"junk",
    "junk after an interim answer": b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" + HEAD + SET + b"junk",
    "junk behind bare line ends": HEAD.replace(b"\r\n", b"\n") + SET + b"junk",
    "blank lines before and junk behind": b"\r\n\r\n" + HEAD + SET + b"junk",
}


async def heard(*pieces: bytes) -> bytes:
    """The body of what came in these pieces, nothing being read before the last of them."""
    answers = SizedAnswers(asyncio.get_running_loop())
    answers.set_response_params()
    for piece in pieces:
        answers.data_received(piece)
    head, body = await answers.read()
    while head.code < 200:
        head, body = await answers.read()
    return await body.read()


@pytest.mark.parametrize("what", FOLLOWED)
def test_what_follows_a_whole_answer_costs_nothing_of_it_wherever_it_is_cut(what: str) -> None:
    said = FOLLOWED[what]

    for cut in range(len(said) + 1):
        assert asyncio.run(heard(said[:cut], said[cut:])) == SET, cut


def test_what_follows_a_whole_answer_costs_nothing_of_it_byte_by_byte() -> None:
    for said in FOLLOWED.values():
        assert asyncio.run(heard(*(bytes([byte]) for byte in said))) == SET
