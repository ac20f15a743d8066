"""Names of hosts: looked up in threads of our own.

libuv, below our loop, has two threads for that. Two hosts whose zone does not answer held both of them for the system's
twenty seconds each, and whatever else this process asked for was a provider that could not be reached (seen).
"""

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Final, TypeVar

T = TypeVar("T")

AT_ONCE: Final = 100  # hosts; who asks for one that is being looked up waits for the same answer


class Names:
    """What a resolver of aiohttp's asks of a loop, on the loop that it is made in.

    aiohttp goes on with a look when whoever waited for it has given up, so its place is taken until it ends.
    """

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(AT_ONCE)

    async def getaddrinfo(self, host: str, port: int, **how: Any) -> list[Any]:
        """As the loop's own."""
        async with self._room:
            return await _apart(partial(socket.getaddrinfo, host, port, **how))

    async def getnameinfo(self, address: Any, flags: int) -> tuple[str, str]:
        """As the loop's own."""
        return await _apart(partial(socket.getnameinfo, address, flags))


async def _apart(look: Callable[[], T]) -> T:
    """Look in a thread that no end of the process waits for, as it would for one of an executor's."""
    found: Future[T] = Future()

    def carry_out() -> None:
        try:
            found.set_result(look())
        except Exception as error:  # noqa: BLE001  # raised where it is awaited
            found.set_exception(error)

    found.set_running_or_notify_cancel()  # so nobody cancels it who waits no longer
    threading.Thread(target=carry_out, name="name", daemon=True).start()
    return await asyncio.wrap_future(found)
