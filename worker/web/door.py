"""Door: a listener's sockets, who comes in by them, and what answers.

asyncio's own server accepts whatever comes and tells of it when a TLS handshake is done: until then nobody counts. So
connections are accepted here, one by one, each of them counted before the next.
"""

import asyncio
import errno
import ipaddress
import socket
import ssl
import struct
from collections.abc import Hashable
from contextlib import suppress
from functools import partial
from typing import Any, Final

import structlog
from aiohttp import web

from worker.web import wire
from worker.web.connections import Connection, Connections
from worker.web.guarded_requests import GuardedRequests
from worker.web.listening import Address, listening_sockets, url_of

log = structlog.get_logger()

AT_ONCE: Final = 16  # connections accepted, or cut off, before those that are there are heard again
AGAIN_SECONDS: Final = 1.0  # after the system had no file for one
SHUTDOWN_SECONDS: Final = 3.0  # what a slow reader gets to take its answer
NETWORK: Final = 64  # bits of an IPv6 address that say whose it is
CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid (unix(7), SO_PEERCRED)
# No request is logged by its address, which holds a ref; a compressed body is no JSON to us: what it unpacks to has no
# bound.
OPTIONS: Final[dict[str, Any]] = {"access_log": None, "auto_decompress": False, "logger": wire.logger}


class Door:
    """Opened once, on the loop that answers; closed in peace."""

    def __init__(self, app: web.Application, connections: Connections) -> None:
        self.connections = connections
        # Whoever leaves is waited for no longer.
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=SHUTDOWN_SECONDS, **OPTIONS)
        self._sockets: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def set_up(self) -> None:
        """Make ready to answer."""
        await self._runner.setup()

    async def open(self, address: Address, tls: ssl.SSLContext | None, *, variable: str) -> str:
        """Listen; returns where, as people write it.

        Raises:
            SettingsError: it cannot be opened, or somebody listens there already.

        """
        self._sockets = await listening_sockets(address, variable=variable)
        for each in self._sockets:
            self._listen(each, tls)
        self._keep(self._end_slow())
        return url_of(self._sockets[-1], tls)

    async def close(self) -> None:
        """Let nobody in, and let those go who are there, with their answer."""
        for each in self._sockets:
            asyncio.get_running_loop().remove_reader(each)
            each.close()
        self._sockets = []
        await asyncio.sleep(0)  # who was just accepted is served, or closed by its task
        for task in list(self._tasks):
            task.cancel()
        await self._runner.cleanup()

    def _listen(self, listening: socket.socket, tls: ssl.SSLContext | None) -> None:
        if listening.fileno() >= 0:  # it is open still
            asyncio.get_running_loop().add_reader(listening, self._let_in, listening, tls)

    def _let_in(self, listening: socket.socket, tls: ssl.SSLContext | None) -> None:
        for _ in range(AT_ONCE):
            try:
                arrived, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(listening, tls, error)
                return
            arrived.setblocking(False)
            connection = Connection(_peer(arrived, address), arrived.close)
            if self.connections.opened(connection):
                connection.cut = partial(_turn_away, self._keep(self._serve(arrived, connection, tls)), arrived)

    def _pause(self, listening: socket.socket, tls: ssl.SSLContext | None, error: OSError) -> None:
        log.error("web.cannot_accept", reason=errno.errorcode.get(error.errno or 0, "?"), again_in_s=AGAIN_SECONDS)
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)
        loop.call_later(AGAIN_SECONDS, self._listen, listening, tls)

    async def _serve(self, arrived: socket.socket, connection: Connection, tls: ssl.SSLContext | None) -> None:
        server = self._runner.server
        assert server is not None  # noqa: S101  # it was set up
        limit = self.connections.limits.head.total_seconds() if tls else None
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # for the type checker
        connection.cut = task.cancel
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: GuardedRequests(server, connection, self.connections, **OPTIONS),
                arrived,
                ssl=tls,
                ssl_handshake_timeout=limit,
            )
        except OSError:  # it left, or that was no handshake
            self.connections.closed(connection)
            arrived.close()
        except asyncio.CancelledError:
            self.connections.closed(connection)
            arrived.close()
            raise

    async def _end_slow(self) -> None:
        often = min(1.0, self.connections.limits.head.total_seconds() / 4)
        while True:
            more = self.connections.end_slow(AT_ONCE)
            await asyncio.sleep(0 if more else often)  # a thousand at once would be felt by whoever reads

    def _keep(self, coroutine: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _turn_away(task: asyncio.Task[None], arrived: socket.socket) -> None:
    """End what has not begun: a task that is cancelled before its first step closes nothing."""
    task.cancel()
    arrived.close()


def _peer(arrived: socket.socket, address: Any) -> Hashable:
    """Whose connection it is: a user of this machine, or an address; an IPv6 network is one house."""
    if arrived.family == socket.AF_UNIX:
        with suppress(OSError):
            found = arrived.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
            return "uid", CREDENTIALS.unpack(found)[1]
        return "uid", None
    found_at = ipaddress.ip_address(address[0].partition("%")[0])
    if isinstance(found_at, ipaddress.IPv4Address):
        return found_at
    return found_at.ipv4_mapped or int(found_at) >> NETWORK
