"""Host names: each is looked up in a thread of its own, so a silent nameserver keeps only its own names waiting.

uvloop leaves them to libuv, which has two threads for it in a whole process: two names that nobody answers for (one
customer's host, one webhook's) kept every provider's from being looked up, and glibc waits for ten seconds and more.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from functools import partial
from threading import Thread
from typing import Any, Final
from weakref import WeakValueDictionary

from aiohttp.abc import AbstractResolver, ResolveResult

AT_ONCE: Final = 100  # fewer than the threads that a service manager allows a worker
# A provider may have a host for each of a thousand customers.
OF_A_DOMAIN: Final = 16
PATIENCE_SECONDS: Final = 10.0  # for one's turn: no request waits longer for its connection
_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV

_Found = list[Any]


class HostNames(AbstractResolver):
    """Asks the system's name service."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(AT_ONCE)
        self._domains: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Look a name up; raises OSError where it has no address, or too many others are looked up."""
        async with self._turn(host):
            found = await _in_a_thread(partial(_addresses, host, port, family))
        return [
            ResolveResult(hostname=host, host=address[0], port=address[1], family=kind, proto=protocol, flags=_NUMERIC)
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Nothing is open; a lookup that nobody waits for ends by itself."""

    @asynccontextmanager
    async def _turn(self, host: str) -> AsyncIterator[None]:
        domain = ".".join(host.lower().rstrip(".").split(".")[-2:])
        share = self._domains.setdefault(domain, asyncio.Semaphore(OF_A_DOMAIN))
        async with _place(share), _place(self._room):
            yield


@asynccontextmanager
async def _place(places: asyncio.Semaphore) -> AsyncIterator[None]:
    async with asyncio.timeout(PATIENCE_SECONDS):
        await places.acquire()
    try:
        yield
    finally:
        places.release()


def _addresses(host: str, port: int, family: socket.AddressFamily) -> _Found:
    return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)


async def _in_a_thread(look_up: Callable[[], _Found]) -> _Found:
    """No pool's: the end of this process would wait for its threads."""
    found: Future[_Found] = Future()
    try:
        Thread(target=_look_up, args=(look_up, found), name="lookup", daemon=True).start()
    except RuntimeError as error:  # the system has no thread for it
        raise OSError(*error.args) from error
    return await asyncio.wrap_future(found)


def _look_up(look_up: Callable[[], _Found], found: "Future[_Found]") -> None:
    found.set_running_or_notify_cancel()  # whoever waits may leave; the lookup goes on, and is told to nobody
    try:
        found.set_result(look_up())
    except Exception as error:  # noqa: BLE001  # it is raised where somebody waits
        found.set_exception(error)
