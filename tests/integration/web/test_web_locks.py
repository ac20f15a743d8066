"""A grant that somebody holds in an open transaction: whoever asks for it is told so, and nobody waits behind it."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import aiohttp
import psycopg
import pytest
from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from models import database as models_database
from models.database import Lane
from tests.harness import Harness
from tests.integration.web.asking import Web
from worker.web.database import Batch, Database
from worker.web.turns import MOST_WAITING

REVOKE = "select evergrant.request_revocation('held')"
LOCK = "select id from evergrant.grants where ref = 'held' for update"
ALL = MOST_WAITING + 6


@pytest.fixture
def grants(harness: Harness) -> None:
    client = harness.client()
    for ref in ("held", "free", "also"):
        harness.grant(client, ref)
    harness.run("update evergrant.grants set refreshed_at = refreshed_at - interval '1 hour'")


@contextmanager
def open_transaction(statement: str) -> Iterator[None]:
    """Somebody's transaction that has begun and does not end."""
    url = models_database.engine().url.set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False)) as elsewhere:
        elsewhere.execute(statement.encode())
        yield
        elsewhere.rollback()


async def posted(web: Web, *targets: str) -> list[tuple[int, str | None]]:
    """Ask for all of these at once: status and error of each."""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {web.key}"}) as session:

        async def one(target: str) -> tuple[int, str | None]:
            async with session.post(f"{web.url}/v1/grants/{target}") as answer:
                return answer.status, (await answer.json()).get("error")

        return await asyncio.gather(*map(one, targets))


def test_revocations_of_a_grant_that_is_held_keep_no_other_application_waiting(
    harness: Harness, grants: None, web: Web, key: Callable[..., str]
) -> None:
    modest = web.with_key(key("modest"))

    async def both() -> tuple[list[tuple[int, str | None]], list[int]]:
        greedy = asyncio.create_task(posted(web, *["held/revocation"] * ALL))
        others: list[int] = []
        while not greedy.done():
            others.append((await asyncio.to_thread(modest.get, "free")).status)
            await asyncio.sleep(0.02)  # it keeps to what one application may ask in a second
        others += [status for status, _ in await posted(modest, "free/revocation")]
        return await greedy, others

    with open_transaction(REVOKE):
        answers, others = asyncio.run(both())
        assert asyncio.run(posted(modest, "also/revocation")) == [(202, None)]

    assert answers.count((503, "busy")) == ALL - MOST_WAITING
    assert answers.count((503, "locked")) == MOST_WAITING
    assert others == [200] * (len(others) - 1) + [202]
    assert asyncio.run(posted(web, "held/revocation")) == [(202, None)]


def test_a_refresh_of_a_grant_that_is_held_is_told_so_and_another_is_queued(
    harness: Harness, grants: None, web: Web
) -> None:
    with open_transaction(LOCK):
        answers = asyncio.run(posted(web, "held/refresh", "free/refresh", "also/refresh", "held/refresh"))
    assert answers == [(503, "locked"), (202, None), (202, None), (503, "locked")]
    answer = web.post("held", "refresh")
    assert answer.status == 202


def test_a_table_that_is_locked_is_told_to_all_who_read_at_once(harness: Harness, grants: None, web: Web) -> None:
    """Found out by each alone, the last would wait until they are told that the database is away."""
    assert web.get("free").status == 200

    async def asked() -> set[tuple[int, str | None]]:
        targets = [f"{web.url}/v1/grants/{ref}/token" for ref in ("held", "free", "also", *range(12))]
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {web.key}"}) as session:

            async def one(target: str) -> tuple[int, str | None]:
                async with session.get(target) as answer:
                    return answer.status, (await answer.json()).get("error")

            return set(await asyncio.gather(*map(one, targets)))

    with open_transaction("lock table evergrant.grants"):
        assert asyncio.run(asked()) == {(503, "locked")}
    assert web.get("free").status == 200


def test_one_that_is_held_lets_nobody_fail_that_was_asked_for_together_with_it(harness: Harness) -> None:
    def squares(_: Connection, numbers: Sequence[int]) -> dict[int, int]:
        if 3 in numbers:
            raise OperationalError("select", {}, LockNotAvailable())
        return {number: number**2 for number in numbers}

    async def ask() -> list[int | BaseException]:
        database = Database(Lane.HEART)
        batch = Batch(database, squares)
        found = await asyncio.gather(*map(batch, range(6)), return_exceptions=True)
        await database.close()
        return found

    found = asyncio.run(ask())
    assert isinstance(found.pop(3), OperationalError)
    assert found == [0, 1, 4, 16, 25]
