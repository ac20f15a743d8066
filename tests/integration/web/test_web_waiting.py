"""Waiting over HTTP: by news and without, many at once on few connections, beside slow readers and through outages."""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import psycopg
import pytest
from sqlalchemy import Connection

from models import database as models_database
from models.database import Lane
from tests.harness import Harness, token_set
from tests.integration.web.asking import Web
from tests.integration.web.conftest import bound, served
from tests.polling import eventually
from worker.web import grants as web_grants
from worker.web.database import Batch, Database

MANY = 300

LISTENERS = "select pid from pg_stat_activity where datname = current_database() and query like 'listen %'"
OURS = "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'evergrant'"


@pytest.fixture
def client(harness: Harness) -> int:
    return harness.client()


def waiting(web: Web) -> float:
    lines = web.ops("/metrics").body.decode().splitlines()
    return float(next(line for line in lines if line.startswith("evergrant_web_waiting ")).split()[1])


async def many(web: Web, refs: list[str], *, wait: float) -> list[tuple[int, Any]]:
    """Ask for all of these at once."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), headers={"Authorization": f"Bearer {web.key}"}
    ) as session:

        async def one(ref: str) -> tuple[int, Any]:
            async with session.get(f"{web.url}/v1/grants/{ref}/token?wait={wait}") as response:
                return response.status, await response.json()

        return await asyncio.gather(*map(one, refs))


def in_background(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    return thread, found


def test_hundreds_wait_on_a_few_connections_and_each_gets_its_own_token(
    harness: Harness, client: int, web: Web
) -> None:
    harness.grants(client, MANY, access_left=timedelta(seconds=-1))
    refs = [f"customer-{n}" for n in range(MANY)]
    thread, found = in_background(lambda: asyncio.run(many(web, refs, wait=60)))
    eventually(lambda: waiting(web) == MANY)
    eventually(lambda: len(harness.all("select 1 from evergrant.refresh_requests")) == MANY)
    most = harness.settings.database_pool + 1
    assert harness.one(OURS)["count"] <= most
    claimed = harness.claim(client)
    started = harness.start([*claimed.due, *claimed.requested])
    harness.settle(*[(attempt, token_set(attempt.job.ref)) for attempt in started])
    thread.join(60)
    assert [(status, told["access_token"]) for status, told in found[0]] == [(200, f"at-{ref}") for ref in refs]
    assert waiting(web) == 0


def test_news_of_a_token_set_wakes_whoever_waits(
    harness: Harness, client: int, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_grants, "LOOK_AGAIN", timedelta(seconds=50))
    eventually(lambda: harness.all(LISTENERS))
    harness.grant(client, access_left=timedelta(seconds=-1))
    thread, found = in_background(lambda: web.get("customer", wait=40))
    eventually(lambda: waiting(web) == 1)
    harness.ask(client, token_set("2"))
    thread.join(20)
    assert found[0].json["access_token"] == "at-2"


def test_without_news_looking_again_finds_the_token(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client, access_left=timedelta(seconds=-1))
    thread, found = in_background(lambda: web.get("customer", wait=40))
    eventually(lambda: waiting(web) == 1)
    harness.run("update evergrant.grants set access_expires_at = clock_timestamp() + interval '1 hour'")
    thread.join(20)
    assert found[0].status == 200


def test_a_listener_that_was_cut_off_listens_again(harness: Harness, client: int, web: Web) -> None:
    first = eventually(lambda: harness.all(LISTENERS))[0]["pid"]
    harness.run("select pg_terminate_backend(:pid)", pid=first)
    eventually(lambda: [row for row in harness.all(LISTENERS) if row["pid"] != first])


def test_a_revocation_ends_a_wait(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client, access_left=timedelta(seconds=-1))
    thread, found = in_background(lambda: web.get("customer", wait=40))
    eventually(lambda: waiting(web) == 1)
    web.post("customer", "revocation")
    thread.join(20)
    assert found[0].error == (410, "revoked")


def test_whoever_leaves_is_waited_for_no_longer(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client, access_left=timedelta(seconds=-1))
    door = socket.create_connection((urlsplit(web.url).hostname, urlsplit(web.url).port))
    door.sendall(request(web, "customer", wait=60))
    eventually(lambda: waiting(web) == 1)
    door.close()
    eventually(lambda: waiting(web) == 0)


def request(web: Web, ref: str, *, wait: float = 0) -> bytes:
    return (
        f"GET /v1/grants/{ref}/token?wait={wait} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {web.key}\r\n\r\n"
    ).encode()


def fill(door: socket.socket, content: bytes) -> None:
    """Send the same again and again until the other end takes no more."""
    door.setblocking(False)
    for _ in range(100_000):
        try:
            door.send(content)
        except BlockingIOError:
            return
    pytest.fail("it takes anything")


def test_slow_readers_and_slow_writers_harm_nobody(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client)
    place = (urlsplit(web.url).hostname or "", urlsplit(web.url).port or 0)
    doors = [socket.create_connection(place) for _ in range(60)]
    try:
        for door in doors[:20]:  # half a head
            door.sendall(request(web, "customer")[:-6])
        for door in doors[20:40]:  # a body that does not come
            head = f"POST /v1/grants/customer/refresh HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {web.key}\r\n"
            door.sendall(head.encode() + b"Content-Length: 100\r\n\r\n{")
        for door in doors[40:]:  # answers that nobody reads, until no more can be asked
            fill(door, request(web, "nobody") * 50)
        assert web.get("customer").status == 200
        assert web.ops("/healthz").status == 200
    finally:
        for door in doors:
            door.close()


def test_who_asks_too_much_is_told_when_to_come_back_and_nobody_else_is(
    harness: Harness, client: int, tmp_path: Path, key: Callable[..., str]
) -> None:
    harness.grant(client)
    with served(bound(tmp_path, token_requests_per_second=0.5)) as addresses:
        greedy, modest = Web(addresses, key("greedy")), Web(addresses, key("modest"))
        answers = [greedy.get("customer") for _ in range(6)]
        assert [each.status for each in answers] == [200] * 5 + [429]
        assert answers[-1].error == (429, "too_many_requests")
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 2
        assert modest.get("customer").status == 200


def test_a_stop_answers_those_who_wait(harness: Harness, client: int, tmp_path: Path, key: Callable[..., str]) -> None:
    harness.grant(client, access_left=timedelta(seconds=-1))
    with served(bound(tmp_path)) as addresses:
        web = Web(addresses, key())
        thread, found = in_background(lambda: web.get("customer", wait=60))
        eventually(lambda: waiting(web) == 1)
    thread.join(20)
    assert found[0].error == (503, "stopping")
    assert harness.all("select * from evergrant.processes where kind = 'web'") == []


def test_a_database_that_is_away_is_503_until_it_is_back(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client)
    assert web.get("customer").status == 200
    name = models_database.engine().url.database or ""
    server = models_database.engine().url.set(drivername="postgresql", database="postgres")
    with psycopg.connect(server.render_as_string(hide_password=False), autocommit=True) as elsewhere:
        elsewhere.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            elsewhere.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            answer = web.get("customer")
            assert answer.error == (503, "database_away")
            assert int(answer.headers["retry-after"]) > 0
            assert name not in answer.body.decode()
            assert web.ops("/healthz").status == 200
            assert web.ops("/readyz").json == {"ready": False, "reasons": ["database_away"]}
            assert b"evergrant_database_answers 0.0" in web.ops("/metrics").body
        finally:
            elsewhere.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    assert eventually(lambda: web.get("customer")).status == 200


def test_a_database_that_says_nothing_is_503_in_seconds_for_all_at_once(
    harness: Harness, client: int, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.web.database.PATIENCE_SECONDS", 0.5)
    harness.grants(client, 80)
    refs = [f"customer-{n}" for n in range(80)]

    def ask() -> list[tuple[int, Any]]:
        return asyncio.run(many(web, refs, wait=0))

    for table in ("clients", "applications"):
        with models_database.transaction() as connection:
            connection.exec_driver_sql(f"lock table evergrant.{table} in access exclusive mode")
            thread, found = in_background(ask)
            thread.join(20)  # one after the other would take 40 s
            assert {(status, answer["error"]) for status, answer in found[0]} == {(503, "database_away")}
    monkeypatch.undo()
    assert eventually(lambda: web.get("customer-1").status == 200)


def test_readers_of_one_statement_are_answered_each_by_what_they_asked(harness: Harness) -> None:
    asked: list[int] = []

    def squares(_: Connection, numbers: Sequence[int]) -> dict[int, int]:
        asked.extend(numbers)
        return {number: number**2 for number in numbers}

    async def ask() -> list[int]:
        database = Database(Lane.HEART)
        batch = Batch(database, squares)
        found = await asyncio.gather(*[batch(n % 50) for n in range(500)])
        await database.close()
        return found

    assert asyncio.run(ask()) == [(n % 50) ** 2 for n in range(500)]
    assert sorted(asked) == list(range(50))
