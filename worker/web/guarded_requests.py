"""Requests of one connection, with a head that has a size and an end: aiohttp waits for one for ever."""

import asyncio
from http import HTTPStatus
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE, HttpVersion11
from aiohttp.streams import StreamReader

from worker.web.connections import LARGE_HEAD, Connection, Connections

HEAD_LIMIT: Final = 16 * 1024  # bytes, the request line among them
OURS: Final = {"Content-Type", "Cache-Control"}  # of an answer that gives what was asked: nothing of the asker's in it


class GuardedRequests(web.RequestHandler):
    """Tells `Connections` of each head; cuts itself off where one is too large."""

    __slots__ = ("_body", "_connection", "_connections", "_of_head")

    def __init__(self, server: web.Server, connection: Connection, connections: Connections, **options: Any) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **options)
        self._connection = connection
        self._connections = connections
        self._of_head = 0  # bytes of a head that is not whole
        self._body: StreamReader | None = None  # of the last request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; from here on to cut is to abort the transport."""
        self._connection.cut = cast("asyncio.Transport", transport).abort  # uvloop's is of no class of asyncio's
        self._connection.is_idle = self._is_idle
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Say that there is room for another."""
        self._connections.closed(self._connection)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, of a head no more than it may have."""
        if not data:  # what was held back goes on
            self._take(data)
        while data and not self._force_close:
            room = HEAD_LIMIT - self._of_head if self._is_head() else len(data)
            piece, data = data[:room], data[room:]
            self._take(piece)
            if self._of_head >= HEAD_LIMIT:
                self._connections.end(self._connection, LARGE_HEAD)
                return

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Write an answer; one that gives what was asked in one piece, byte for byte as aiohttp does in many steps.

        Where anything is special (another version, the last of a connection, a reader who does not keep up), it does.
        """
        transport, whole = self.transport, _in_one_piece(request, resp)
        if whole is None or transport is None or transport.is_closing() or self._paused or self._upgraded:
            return await super().finish_response(request, resp, start_time)
        request._finish()  # noqa: SLF001  # as aiohttp does
        resp._keep_alive = True  # noqa: SLF001  # as its `prepare` does
        transport.write(whole)
        return resp, False

    def proved(self, holder: int) -> None:
        """The key of this application came."""
        if self._connection.holder is None:
            self._connections.proved(self._connection, holder)

    def _take(self, piece: bytes) -> None:
        before, was_head = self._request_count, self._is_head()
        super().data_received(piece)
        if self._request_count > before:
            self._of_head = 0
            self._body = self._messages[-1][1] if self._messages else None
            self._connections.head_came(self._connection)
        elif was_head and piece:
            self._of_head += len(piece)
            self._connections.head_began(self._connection)

    def _is_head(self) -> bool:
        return self._body is None or self._body.is_eof()

    def _is_idle(self) -> bool:
        return self._waiter is not None and not self._waiter.done()


def _in_one_piece(request: web.BaseRequest, answer: web.StreamResponse) -> bytes | None:
    """The answer as aiohttp would write it, where nothing about it is special."""
    if (
        type(answer) is not web.Response
        or answer.status != HTTPStatus.OK
        or answer.headers.keys() != OURS
        or not isinstance(body := answer.body, bytes)
        or not request.keep_alive
        or request.version != HttpVersion11
        or request.method != "GET"
    ):
        return None
    head = "".join([f"{name}: {value}\r\n" for name, value in answer.headers.items()])
    head += f"Content-Length: {len(body)}\r\nDate: {rfc822_formatted_time()}\r\nServer: {SERVER_SOFTWARE}\r\n"
    return f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + body
