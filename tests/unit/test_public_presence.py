"""The public listener says again and again that it is served, and goes on saying so after a database that was away."""

import asyncio
from datetime import timedelta
from functools import partial

import pytest

from worker.web.public import opening
from worker.web.public.opening import Public

URL = "https://connect.example"


class Notebook:
    """In place of the database: what was noted, and by which statement; away the first time."""

    def __init__(self) -> None:
        self.tries = 0
        self.noted: list[tuple[str, str]] = []
        self.enough = asyncio.Event()

    async def run(self, work: "partial[None]") -> None:
        self.tries += 1
        if self.tries == 1:
            message = "away"
            raise ConnectionError(message)
        self.noted.append((work.func.__name__, work.keywords["url"]))
        if len(self.noted) == 3:
            self.enough.set()


def test_it_begins_once_the_database_is_there_and_tells_again_that_it_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(opening, "NOTE_AGAIN_SECONDS", 0.001)
    monkeypatch.setattr(opening, "TELL_AGAIN", timedelta(milliseconds=1))
    asyncio.run(_three_times())


async def _three_times() -> None:
    public, notebook = Public.__new__(Public), Notebook()
    vars(public).update(_database=notebook, _url=URL)
    telling = asyncio.create_task(public._note())
    await asyncio.wait_for(notebook.enough.wait(), 30)
    telling.cancel()
    assert notebook.noted == [("begin", URL), ("go_on", URL), ("go_on", URL)]
