"""Who asks web, as it knows them: what is out of date is used by nobody, and nobody is told of it as their own end."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import pytest
from aiohttp.test_utils import make_mocked_request

from models.application import Holder, hashed
from worker.web.applications import Applications
from worker.web.database import Database

A_MINUTE = timedelta(minutes=1)  # which is less than any machine with tests has been up


class Keys:
    """A database that has these keys, and answers each question when it is let."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.questions: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()

    async def run(self, _work: Callable[[Any], list[Holder]]) -> list[Holder]:
        found = [Holder(number, name, None, hashed(name), left=A_MINUTE) for number, name in enumerate(self.names)]
        answer = asyncio.get_running_loop().create_future()
        await self.questions.put(answer)
        await answer
        return found


@pytest.fixture
def keys() -> Keys:
    return Keys("kept", "removed")


def by(name: str) -> Any:
    return make_mocked_request("GET", "/", headers={"Authorization": f"Bearer {name}"})


def test_what_was_being_read_when_a_key_was_taken_away_is_forgotten_too(keys: Keys) -> None:
    async def scene() -> list[str]:
        applications = Applications(cast("Database", keys))
        waits = asyncio.create_task(applications.who(by("kept")))
        earlier = await keys.questions.get()
        keys.names.remove("removed")
        applications.forget()
        refused = [asyncio.create_task(applications.who(by("removed")))]
        (await keys.questions.get()).set_result(None)
        await asyncio.wait(refused)
        earlier.set_result(None)  # what began earlier and ends later changes nothing
        assert (await waits).name == "kept"
        refused.append(asyncio.create_task(applications.who(by("removed"))))
        return [str(told) for told in await asyncio.gather(*refused, return_exceptions=True)]

    assert asyncio.run(scene()) == ["wrong_key", "wrong_key"]


def test_whoever_waits_while_another_key_is_forgotten_is_not_told_that_theirs_has_ended(keys: Keys) -> None:
    async def scene() -> str:
        applications = Applications(cast("Database", keys))
        waits = asyncio.create_task(applications.who(by("kept")))
        (await keys.questions.get()).set_result(None)
        await asyncio.sleep(0)  # what was read is known now, and whoever waits for it is woken in the next turn
        applications.forget()
        return (await waits).name

    assert asyncio.run(scene()) == "kept"
