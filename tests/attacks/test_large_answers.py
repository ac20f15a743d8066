"""A provider that says too much and then is silent, against a real worker: it hurts its own grants, and that is all."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import QUICK
from tests.acceptance.installation import Installation
from tests.acceptance.keeping import due_now
from tests.acceptance.providers import simulated
from tests.attacks.memory import MEGABYTE, Memory
from tests.polling import eventually
from tests.raw_servers import Behaviour, Bench, Peer

GRANTS = 100  # what one message carries: after them the valve of the client is shut
ANSWER = 128 * 1024  # the most that may come of one
# What came lies there as bytes and as text, and the allocator's rounding is ours as well.
PARSED = 3
SLACK = 40 * MEGABYTE
# Once it was 16 MB of each: 255 lines of 32 KiB of each.
BOUND = GRANTS * ANSWER * PARSED + SLACK


@pytest.fixture
def installation(tmp_path: Path, migrated_url: str, broker_url: str) -> Iterator[Installation]:
    """An installation whose requests have ten seconds, so that a message of a hundred is held at once."""
    more = {**QUICK, "http_deadline_seconds": "10", "attempt_lease_seconds": "30"}
    made = Installation.made(tmp_path / "installation", database_url=migrated_url, broker_url=broker_url, **more)
    yield made
    made.close()


def lines(count: int, size: int) -> bytes:
    """A head that does not end, of so many lines of so many bytes."""
    return b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%03d: %s\r\n" % (n, b"x" * (size - 9)) for n in range(count))


def silent_after(head: bytes, *, together: int = 1) -> Behaviour:
    """Say a head and no more, once so many have asked: the first answers shut the valve, and nobody else would come."""
    asked, all_have_asked = 0, asyncio.Event()

    async def behave(peer: Peer) -> None:
        nonlocal asked
        await peer.request()
        asked += 1
        if asked >= together:
            all_have_asked.set()
        await all_have_asked.wait()
        await peer.say(head)
        await peer.reader.read()  # until they leave

    return behave


@pytest.mark.parametrize(
    ("head", "code"),
    [(lines(255, 32 * 1024), "too_large"), (lines(8, 16_300), "timeout")],
    ids=["beyond every limit", "just within them"],
)
def test_a_hundred_large_heads_and_then_silence_cost_a_worker_some_megabytes(
    installation: Installation, head: bytes, code: str
) -> None:
    bench = Bench()
    server = bench.serve(silent_after(head, together=GRANTS))
    try:
        with simulated("on_use", lifetime=3600) as provider:
            worker = installation.worker()
            options = [*provider.registration(), "--token-url", server.url(), "--burst", "1000"]
            installation.register("app", options, provider.secret)
            installation.import_grants("app", due_now(provider, GRANTS))
            memory = Memory(worker.pid)
            before = memory.now()
            memory.forget_peak()

            installation.beat()
            failed = "select ref from evergrant.grants where last_error_code = %s"
            eventually(lambda: len(installation.rows(failed, [code])) == GRANTS, timeout=40)

            assert server.connections >= GRANTS
            assert memory.peak() - before < BOUND
            assert installation.statuses("app") == {"active": GRANTS}
    finally:
        bench.close()
