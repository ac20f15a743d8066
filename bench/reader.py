"""Somebody who reads access tokens as applications do, in a process of its own: `bench.reads` starts it.

    python -m bench.reader http --refs refs.txt --askers 16 --seconds 5 --watch postgres=123

Addresses and keys are in the environment, as an application would have them (EVERGRANT_CLIENT_DSN and so on). The last
line is JSON: reads, seconds, CPU seconds of this process and of those that are watched, and how long a read took.
"""

import asyncio
import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import click
import psycopg
import uvloop

from bench import meter

# What docs/reference/sql.md tells applications to read; `%(ref)s` as psycopg has it.
VIEW = """
select t.grant_id, t.sealed_access_token, t.access_expires_at, t.generation
from evergrant.access_tokens t where t.ref = %(ref)s
"""
KINDS = ("view", "client-sql", "client-http", "client-memory", "http", "http-lean")
REMEMBERED = 1000
WARM = 10  # reads of each asker before it counts: connections are open and statements are planned

Read = Callable[[str], Any]


class Clock:
    """Counts from now on, for some seconds: reads, and what they cost this process and others."""

    def __init__(self, seconds: float, parts: Mapping[str, list[int]]) -> None:
        self._parts = parts
        self._took: list[float] = []
        self._before, self._cpu, self._begun = meter.sample(parts), time.process_time(), time.perf_counter()
        self._end = self._begun + seconds

    def running(self) -> bool:
        """Whether another read may begin."""
        return time.perf_counter() < self._end

    def count(self, begun: float) -> None:
        """Note a read that began then."""
        self._took.append(time.perf_counter() - begun)

    def told(self) -> dict[str, Any]:
        """What was counted."""
        seconds, mine = time.perf_counter() - self._begun, time.process_time() - self._cpu
        after, took = meter.sample(self._parts), sorted(self._took)
        return {
            "reads": len(took),
            "seconds": seconds,
            "cpu_seconds": {"reader": mine, **{name: after[name] - self._before[name] for name in self._parts}},
            "p50_ms": took[len(took) // 2] * 1000,
            "p99_ms": took[len(took) * 99 // 100] * 1000,
        }


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.option("--refs", type=click.Path(path_type=Path, exists=True), required=True, help="A file with one ref a line.")
@click.option("--askers", default=1, help="Threads, or requests at once.")
@click.option("--seconds", default=5.0)
@click.option("--watch", multiple=True, help="NAME=PID of a process whose CPU counts, too.")
def main(*, kind: str, refs: Path, askers: int, seconds: float, watch: tuple[str, ...]) -> None:
    """Read for some seconds, or until every ref was read where a second read would come from memory."""
    found = refs.read_text(encoding="utf-8").split()
    parts = {name: [int(pid)] for name, _, pid in (each.partition("=") for each in watch)}
    if kind in ("http", "http-lean"):
        key = Path(os.environ["EVERGRANT_APPLICATION_KEY_FILE"]).read_text(encoding="utf-8").strip()
        run, read = (asyncio.run, _over_http) if kind == "http" else (uvloop.run, _at_little_cost)
        told = run(read(key, found, askers, seconds, parts))
    else:
        told = _on_threads(kind, found, askers, seconds, parts)
    click.echo(json.dumps(told))


def _on_threads(
    kind: str, refs: Sequence[str], askers: int, seconds: float, parts: Mapping[str, list[int]]
) -> dict[str, Any]:
    reads = [_view() for _ in range(askers)] if kind == "view" else [_client()] * askers
    warm, rest = refs[: WARM * askers], refs[WARM * askers :]
    if kind == "client-memory":
        warm = rest = refs[:REMEMBERED]
    for number, ref in enumerate(warm):
        reads[number % askers](ref)
    # What a client has read it remembers: each ref once, unless that is what is measured.
    again = kind in ("view", "client-memory")
    turns = [rest[number::askers] for number in range(askers)]
    clock = Clock(seconds, parts)
    threads = [
        threading.Thread(target=_ask, args=(read, itertools.cycle(turn) if again else turn, clock))
        for read, turn in zip(reads, turns, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return clock.told()


def _ask(read: Read, refs: Iterable[str], clock: Clock) -> None:
    for ref in refs:
        if not clock.running():
            return
        begun = time.perf_counter()
        read(ref)
        clock.count(begun)


def _view() -> Read:
    """One connection of an asker's own."""
    connection = psycopg.connect(os.environ["EVERGRANT_CLIENT_DSN"], autocommit=True)

    def read(ref: str) -> None:
        rows = connection.execute(VIEW, {"ref": ref}).fetchall()
        assert [row[1] for row in rows if row[1]], ref

    return read


def _client() -> Read:
    """What `evergrant_client` does, over SQL or over HTTP, as the environment says; one for all threads."""
    from evergrant_client import Evergrant  # on the path of this process alone

    evergrant = Evergrant()

    def read(ref: str) -> None:
        token = evergrant.access_token(ref)
        assert token.value.startswith("at-"), ref

    return read


async def _over_http(
    key: str, refs: Sequence[str], askers: int, seconds: float, parts: Mapping[str, list[int]]
) -> dict[str, Any]:
    """As an application in another language would, with connections that are kept."""
    connector = aiohttp.UnixConnector(os.environ["EVERGRANT_TOKEN_URL"].removeprefix("unix:"), limit=askers)
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession("http://localhost", connector=connector, headers=headers) as session:

        async def ask(turn: Iterable[str], clock: Clock) -> None:
            for ref in turn:
                if not clock.running():
                    return
                begun = time.perf_counter()
                async with session.get(f"/v1/grants/{ref}/token") as answer:
                    body = await answer.json()
                assert body.get("ref") == ref, body
                clock.count(begun)

        async def all_ask(some: Sequence[str], clock: Clock, *, again: bool) -> None:
            turns = [some[number::askers] for number in range(askers)]
            await asyncio.gather(*(ask(itertools.cycle(turn) if again else turn, clock) for turn in turns))

        await all_ask(refs[: WARM * askers], Clock(60, {}), again=False)
        clock = Clock(seconds, parts)
        await all_ask(refs, clock, again=True)
        return clock.told()


class Lean(asyncio.Protocol):
    """One kept connection, and as little as can be done to an answer: what a client costs in a compiled language."""

    def __init__(self, key: str, refs: Iterable[str], clock: Clock, ended: asyncio.Future[None]) -> None:
        self._clock = clock
        self._refs, self._ended, self._received = iter(refs), ended, b""
        self._request = f"GET /v1/grants/%s/token HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n"

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._ref, self._received, self._begun = next(self._refs), b"", time.perf_counter()
        self._transport.write((self._request % self._ref).encode())

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, there, body = self._received.partition(b"\r\n\r\n")
        if not there or len(body) < int(head.partition(b"Content-Length: ")[2].partition(b"\r")[0]):
            return
        assert head.startswith(b"HTTP/1.1 200 "), head
        assert f'"{self._ref}"'.encode() in body, body
        self._clock.count(self._begun)
        if self._clock.running():
            self._ask()
        elif not self._ended.done():
            self._transport.close()
            self._ended.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_exception(exc or ConnectionError("closed"))


async def _at_little_cost(
    key: str, refs: Sequence[str], askers: int, seconds: float, parts: Mapping[str, list[int]]
) -> dict[str, Any]:
    """As an application whose own HTTP costs next to nothing: so the server's speed is seen, and not the reader's."""
    loop, path = asyncio.get_running_loop(), os.environ["EVERGRANT_TOKEN_URL"].removeprefix("unix:")
    ends = [loop.create_future() for _ in range(askers)]
    clock = Clock(seconds, parts)
    for number, end in enumerate(ends):
        turn = itertools.cycle(refs[number::askers])
        await loop.create_unix_connection(partial(Lean, key, turn, clock, end), path)
    await asyncio.gather(*ends)
    return clock.told()


if __name__ == "__main__":
    main()
