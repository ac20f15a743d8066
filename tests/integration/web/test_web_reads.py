"""Reads share statements: each is answered by one that began after it asked, and by its own rows alone."""

import asyncio
import json
import random
import re
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as tried
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from models import application
from models.database import transaction
from models.views.access_token import ByRef
from tests.acceptance.late_reads import Race
from tests.harness import Harness
from tests.integration.web.asking import Web
from tests.integration.web.conftest import bound, served
from tests.polling import eventually
from worker.web import reads
from worker.web.database import DatabaseSilent
from worker.web.reads import Reads

Key = Callable[..., str]
OF_CLIENT = {"demo": ("a", "b", "shared"), "other": ("c", "d", "shared"), "third": ("e", "shared")}


@pytest.fixture
def client(harness: Harness) -> int:
    return harness.client()


# Whose answer is whose


@pytest.fixture
def shared(harness: Harness) -> None:
    for name, refs in OF_CLIENT.items():
        client = harness.client(name)
        for ref in refs:
            harness.grant(client, ref, token=f"canary-{name}-{ref}")


def expected(sees: Sequence[str], ref: str) -> tuple[int, str | None]:
    """Status and access token of a read by a key that sees these clients."""
    found = [name for name in sees if ref in OF_CLIENT[name]]
    if len(found) != 1:
        return (400 if found else 404), None
    return 200, f"at-canary-{found[0]}-{ref}"


def test_whoever_asks_together_gets_what_their_own_key_may_see(
    harness: Harness, shared: None, web: Web, key: Key
) -> None:
    keys = {("demo", "other", "third"): web.key, ("demo",): key("one", client="demo")}
    keys |= {("other",): key("two", client="other"), ("other", "third"): key("more", clients=["other", "third"])}
    asks = st.tuples(st.sampled_from(sorted(keys)), st.sampled_from(["a", "b", "c", "d", "e", "shared", "nobody"]))

    @tried(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(asks, min_size=1, max_size=60))
    def each_gets_their_own(wanted: list[tuple[tuple[str, ...], str]]) -> None:
        async def ask() -> list[tuple[int, str | None]]:
            async with aiohttp.ClientSession() as session:

                async def one(sees: tuple[str, ...], ref: str) -> tuple[int, str | None]:
                    headers = {"Authorization": f"Bearer {keys[sees]}"}
                    async with session.get(f"{web.url}/v1/grants/{ref}/token?wait=0", headers=headers) as answer:
                        return answer.status, (await answer.json()).get("access_token")

                return await asyncio.gather(*(one(*each) for each in wanted))

        assert asyncio.run(ask()) == [expected(*each) for each in wanted]

    each_gets_their_own()


# What was committed before a request is seen by it


def test_no_read_is_late_while_revocations_and_renewals_race_it(harness: Harness, tmp_path: Any, key: Key) -> None:
    client = harness.client()
    harness.run("update evergrant.clients set revocation_limit = 1000000")
    refs = [f"customer-{n}" for n in range(60)]
    for ref in refs:
        harness.grant(client, ref)
    assert harness.settings.database_url is not None
    dsn = harness.settings.database_url.get_secret_value()
    with served(bound(tmp_path, token_requests_per_second=1e6)) as addresses:
        race = Race(refs, reads=2000, revocations=40)
        report = asyncio.run(race.run(addresses.token or "", key(), dsn))
    assert report.faults() == [], report.told()
    assert len(report.revoked) == 40


def test_a_key_that_is_taken_away_opens_nothing_from_its_commit_on(
    harness: Harness, client: int, web: Web, key: Key
) -> None:
    harness.grant(client)
    turning, removed = web.with_key(key("turning")), web
    assert (turning.get("customer").status, removed.get("customer").status) == (200, 200)
    with transaction() as connection:
        application.remove(connection, "billing", who="tests")
        new = application.new_key()
        application.rotate(connection, "turning", key=new, overlap=timedelta(0), expires_in=None, who="tests")
    assert removed.get("customer").error == (401, "wrong_key")
    assert turning.get("customer").error == (401, "expired_key")
    assert "error=" in removed.get("customer").headers["www-authenticate"]


# Lines


class Numbers:
    """`n` and when its statement began; from a thousand on it takes a minute, and one below zero cannot be told."""

    sql = """
        select n, statement_timestamp()::text || pg_backend_pid(), case when n >= 1000 then pg_sleep(60) end::text,
            case when n < 0 then timestamptz 'infinity' end
        from unnest($1::text[]) as t, cast(t as int) as n order by n
    """
    parameters: Sequence[str] = ("numbers",)

    def values(self, asked: Sequence[int]) -> list[Any]:
        """The numbers."""
        return [[str(n) for n in asked]]

    def found(self, asked: Sequence[int], rows: Iterable[Sequence[Any]]) -> Mapping[int, str]:
        """When each was read."""
        assert {row[0] for row in rows} == set(asked)
        return {row[0]: row[1] for row in rows}


@asynccontextmanager
async def numbers() -> Any:
    """Reads of numbers, with a line that is open."""
    made = Reads(Numbers())
    await made(0)
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is given up, however slow this machine is."""
    monkeypatch.setattr(reads, "PATIENCE_SECONDS", 120.0)


async def begun(count: int, harness: Harness) -> None:
    """Wait until so many statements take a minute."""
    query = "select count(*) as n from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"

    def seen() -> bool:
        return bool(harness.one(query)["n"] == count)

    await asyncio.to_thread(eventually, seen, timeout=20)


def test_who_asks_in_one_turn_shares_a_statement_and_who_asks_later_has_a_later_one(harness: Harness) -> None:
    async def ask() -> tuple[list[str], str]:
        async with numbers() as read:
            together = await asyncio.gather(*map(read, [1, 2, 3, 2, 1]))
            return together, await read(1)

    together, later = asyncio.run(ask())
    assert len(set(together)) == 1
    assert later not in together


def test_nobody_is_answered_by_a_statement_that_had_begun_before_they_asked(harness: Harness, patient: None) -> None:
    async def ask() -> bool:
        async with numbers() as read:
            first = [asyncio.create_task(read(n)) for n in (1000, 5)]  # one statement, of a minute
            await begun(1, harness)
            await read(5)
            return not any(each.done() for each in first)

    assert asyncio.run(ask())


def test_a_statement_that_takes_long_keeps_nobody_waiting_who_asks_meanwhile(harness: Harness, patient: None) -> None:
    async def ask() -> list[bool]:
        async with numbers() as read:
            slow = asyncio.create_task(read(1000))
            await begun(1, harness)
            before = []
            for n in range(20):
                await read(n)
                before.append(not slow.done())
            slow.cancel()
            return before

    assert asyncio.run(ask()) == [True] * 20


def test_statements_that_never_end_are_given_up_and_cancelled_and_reading_goes_on(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "PATIENCE_SECONDS", 1.0)

    async def ask() -> list[Any]:
        async with numbers() as read:
            slow = [asyncio.create_task(read(1000))]
            await begun(1, harness)
            slow.append(asyncio.create_task(read(1001)))
            await begun(2, harness)
            told = await asyncio.gather(*slow, return_exceptions=True)
            monkeypatch.setattr(reads, "PATIENCE_SECONDS", 30.0)
            after = await read(7)
            await begun(0, harness)
            return [*told, after]

    first, second, after = asyncio.run(ask())
    assert (type(first), type(second)) == (DatabaseSilent, DatabaseSilent)
    assert after


def test_a_row_that_cannot_be_read_fails_alone(harness: Harness) -> None:
    async def ask() -> list[Any]:
        async with numbers() as read:
            return await asyncio.gather(*map(read, [1, -1, 2, -2, 3]), return_exceptions=True)

    found = asyncio.run(ask())
    assert [isinstance(each, DBAPIError) for each in found] == [False, True, False, True, False]


def test_who_leaves_takes_no_answer_of_anybody_else_along(harness: Harness) -> None:
    async def ask() -> list[Any]:
        async with numbers() as read:
            asking = [asyncio.create_task(read(n % 3)) for n in range(30)]
            await asyncio.sleep(0)
            for each in asking[::4]:
                each.cancel()
            return await asyncio.gather(*asking, return_exceptions=True)

    found = asyncio.run(ask())
    assert [isinstance(each, str) for each in found] == [n % 4 != 0 for n in range(30)]


def test_lines_that_the_server_has_ended_are_replaced_and_nobody_notices(harness: Harness) -> None:
    theirs = "from pg_stat_activity where pid <> pg_backend_pid() and query like '%pg_sleep(60)%'"

    def end() -> None:
        assert harness.all(f"select pg_terminate_backend(pid) {theirs}")

    async def ask() -> None:
        async with numbers() as read:
            for n in range(5):
                await asyncio.gather(*map(read, range(n + 1)))
                await asyncio.to_thread(end)

    asyncio.run(ask())


def test_a_statement_that_the_session_has_forgotten_is_prepared_again(harness: Harness) -> None:
    async def ask() -> None:
        async with numbers() as read:
            read._free[0]._driver.exec_(b"deallocate all")
            assert await read(1)

    asyncio.run(ask())


def test_damage_to_one_grant_is_told_to_who_asks_for_it_alone(harness: Harness, client: int, web: Web) -> None:
    for ref in ("good", "fine", "damaged", "keyless", "endless"):
        harness.grant(client, ref)
    for ref, place in (("damaged", "length(sealed_access_token) - 1"), ("keyless", "2")):
        byte = f"255 - get_byte(sealed_access_token, {place})" if ref == "damaged" else "ascii('z')"
        damaged = f"set_byte(sealed_access_token, {place}, {byte})"
        harness.run(f"update evergrant.grants set sealed_access_token = {damaged} where ref = :ref", ref=ref)  # noqa: S608
    harness.run("update evergrant.grants set access_expires_at = 'infinity' where ref = 'endless'")
    wanted = ["good", "damaged", "fine", "keyless", "endless", "good"] * 10
    random.shuffle(wanted)

    async def ask() -> list[tuple[str, int]]:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {web.key}"}) as session:

            async def one(ref: str) -> tuple[str, int]:
                async with session.get(f"{web.url}/v1/grants/{ref}/token?wait=0") as answer:
                    return ref, answer.status

            return await asyncio.gather(*map(one, wanted))

    seen = set(asyncio.run(ask()))
    assert seen == {("good", 200), ("fine", 200), ("damaged", 503), ("keyless", 503), ("endless", 500)}


def test_each_grant_of_a_large_batch_is_found(harness: Harness, client: int) -> None:
    refs = [f"customer-{n}" for n in range(700)]
    harness.grants(client, 30)

    async def ask() -> list[Any]:
        read = Reads(ByRef(environment=None))
        found = await asyncio.gather(*(read((ref, None, b"nobody's")) for ref in refs))
        await read.close()
        return found

    found = asyncio.run(ask())
    assert [bool(each) for each in found] == [True] * 30 + [False] * 670


# Bytes


def said(web: Web, request: bytes, *, answers: int = 1) -> list[tuple[bytes, bytes]]:
    """Head and body of each answer to what was sent at once on one connection."""
    place = urlsplit(web.url)
    found = []
    with socket.create_connection((place.hostname or "", place.port or 0), 20) as door, door.makefile("rb") as file:
        door.sendall(request)
        for _ in range(answers):
            head = b"".join(iter(file.readline, b"\r\n"))
            length = int(re.search(rb"Content-Length: (\d+)", head)[1])  # type: ignore[index]
            found.append((head, file.read(length)))
    return found


def get(ref: str, key: str | None, *headers: str, version: str = "1.1") -> bytes:
    lines = [f"GET /v1/grants/{ref}/token?wait=0 HTTP/{version}", "Host: x", f"Authorization: Bearer {key}", *headers]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def test_an_answer_in_one_piece_is_byte_for_byte_what_aiohttp_writes(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client)
    undated = re.compile(rb"Date: [^\r]+\r\n")
    ((head, body),) = said(web, get("customer", web.key))
    ((last_head, last_body),) = said(web, get("customer", web.key, "Connection: close"))
    ((old_head, old_body),) = said(web, get("customer", web.key, "Connection: keep-alive", version="1.0"))
    assert body == last_body == old_body
    assert undated.sub(b"", last_head) == undated.sub(b"", head) + b"Connection: close\r\n"
    assert (
        undated.sub(b"", old_head) == undated.sub(b"", head).replace(b"1.1", b"1.0", 1) + b"Connection: keep-alive\r\n"
    )
    assert [line.partition(b":")[0] for line in head.splitlines()] == [
        *(b"HTTP/1.1 200 OK", b"Content-Type", b"Cache-Control", b"Content-Length", b"Date", b"Server")
    ]
    assert undated.search(head)


def test_requests_that_are_sent_at_once_on_one_connection_are_answered_in_their_order(
    harness: Harness, client: int, web: Web
) -> None:
    for ref in ("a", "b"):
        harness.grant(client, ref)
    wanted = ["a", "b", "nobody", "b", "a"]
    answers = said(web, b"".join(get(ref, web.key) for ref in wanted), answers=5)
    assert [json.loads(body).get("ref", "nobody") for _, body in answers] == wanted
