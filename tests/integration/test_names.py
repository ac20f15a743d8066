"""Names that nobody answers for keep no other name waiting."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tasks.oauth.names import AT_ONCE, Names

DEAD = 40  # far more than libuv has threads


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Hosts of the zone `dead.test` are answered once this is set, and never before."""
    asked, event = socket.getaddrinfo, threading.Event()

    def look_up(host: str, *more: Any, **how: Any) -> Any:
        if host.endswith("dead.test"):
            event.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "nobody answers")
        return asked(host, *more, **how)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield event
    event.set()


def test_a_zone_that_is_dead_keeps_no_other_name_waiting(answered: threading.Event) -> None:
    async def ask() -> list[Any]:
        names = Names()
        waiting = [asyncio.ensure_future(names.getaddrinfo(f"h{n}.dead.test", 443)) for n in range(DEAD)]
        found = await names.getaddrinfo("127.0.0.1", 443, type=socket.SOCK_STREAM)
        assert not any(each.done() for each in waiting)
        answered.set()
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(each, socket.gaierror) for each in ends)
        return found

    ((family, _, _, _, address),) = asyncio.run(ask())
    assert (family, address) == (socket.AF_INET, ("127.0.0.1", 443))


def test_there_is_room_for_so_many_and_no_more(answered: threading.Event) -> None:
    async def ask() -> None:
        names = Names()
        waiting = [asyncio.ensure_future(names.getaddrinfo(f"h{n}.dead.test", 443)) for n in range(AT_ONCE)]
        await asyncio.sleep(0)
        more = asyncio.ensure_future(names.getaddrinfo("127.0.0.1", 443))
        await asyncio.sleep(0)
        assert not more.done()
        answered.set()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert await more

    asyncio.run(ask())
