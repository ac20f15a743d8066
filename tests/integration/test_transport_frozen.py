"""The sender in a process that was stopped for a while: what arrived meanwhile is read before anything is given up."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from tasks.oauth.answer import Response, Silence
from tests.raw_servers import OK, SHORT, Behaviour, Bench, Peer

BY = 5 * SHORT.total_seconds()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def freezing(bench: Bench, *pieces: bytes) -> Behaviour:
    """Stop the sender's loop once it has sent its request, and say `pieces` while it stands still."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        loop = bench.transport._thread.loop
        assert loop is not None
        stopped = asyncio.Event()
        here = asyncio.get_running_loop()

        def stand_still() -> None:
            here.call_soon_threadsafe(stopped.set)
            time.sleep(BY)

        loop.call_soon_threadsafe(stand_still)
        await stopped.wait()
        await peer.say(*pieces)
        await peer.reader.read()

    return behave


def test_an_answer_that_came_while_the_process_was_frozen_past_the_deadline_is_read(bench: Bench) -> None:
    server = bench.serve(freezing(bench, OK))
    assert bench.ask(server.url(), deadline=SHORT) == Response(200, {"content-length": "2"}, b"{}")


def test_half_an_answer_is_silence_also_after_a_freeze(bench: Bench) -> None:
    server = bench.serve(freezing(bench, OK[:-1]))
    assert bench.ask(server.url(), deadline=SHORT) == Silence("timeout", 200, {"content-length": "2"})
