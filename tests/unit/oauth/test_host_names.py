"""Host names: each is looked up apart, in a share of its domain."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest

from tasks.oauth.host_names import OF_A_DOMAIN, HostNames
from tests.polling import eventually

FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 443))]


class NameService:
    """The system's, which answers for nobody of `silent.test` before it is let."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.speaks = threading.Event()

    def getaddrinfo(self, host: str, *_: Any, **__: Any) -> list[Any]:
        self.asked.append(host)
        if host.endswith(".silent.test"):
            self.speaks.wait(30)
        return FOUND


@pytest.fixture
def names() -> Iterator[NameService]:
    made = NameService()
    with patch("socket.getaddrinfo", made.getaddrinfo):
        yield made
    made.speaks.set()


def test_a_silent_domain_has_its_share_and_another_is_found_meanwhile(names: NameService) -> None:
    async def look_up() -> None:
        lookups = HostNames()
        silent = [asyncio.create_task(lookups.resolve(f"c{n}.silent.test", 443)) for n in range(3 * OF_A_DOMAIN)]
        await asyncio.to_thread(eventually, lambda: len(names.asked) == OF_A_DOMAIN)
        (found,) = await lookups.resolve("id.example", 443)
        assert (found["hostname"], found["host"], found["port"]) == ("id.example", "192.0.2.1", 443)
        assert names.asked[OF_A_DOMAIN:] == ["id.example"]
        names.speaks.set()
        assert len(await asyncio.gather(*silent)) == len(silent)

    asyncio.run(look_up())


def test_whoever_has_no_turn_in_time_is_told_so_and_asks_for_nothing(
    names: NameService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.oauth.host_names.PATIENCE_SECONDS", 0.01)

    async def look_up() -> list[Any]:
        lookups = HostNames()
        silent = [lookups.resolve(f"c{n}.silent.test", 443) for n in range(OF_A_DOMAIN + 1)]
        waiting = asyncio.gather(*silent, return_exceptions=True)
        await asyncio.to_thread(eventually, lambda: len(names.asked) == OF_A_DOMAIN)
        await asyncio.sleep(0.02)
        names.speaks.set()
        return await waiting

    *found, last = asyncio.run(look_up())
    assert all(isinstance(each, list) for each in found)
    assert isinstance(last, OSError)
    assert len(names.asked) == OF_A_DOMAIN


def test_where_the_system_has_no_thread_left_a_name_is_not_found(names: NameService) -> None:
    no_thread = patch("tasks.oauth.host_names.Thread.start", side_effect=RuntimeError("can't start new thread"))
    with no_thread, pytest.raises(OSError, match="can't start new thread"):
        asyncio.run(HostNames().resolve("id.example", 443))
    assert names.asked == []
