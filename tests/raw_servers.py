"""Raw servers on loopback that do what no honest server would, and one transport to try on them."""

import asyncio
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta

from tasks.oauth.answer import Answer, Guard
from tasks.oauth.loop_thread import LoopThread
from tasks.oauth.messages import Request
from tasks.oauth.transport import Transport

LONG = timedelta(seconds=20)
SHORT = timedelta(seconds=0.4)
BOUND = 60  # seconds after which a hanging test fails

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

Behaviour = Callable[["Peer"], Awaitable[None]]


class Peer:
    """One accepted connection, as a behaviour sees it."""

    def __init__(self, server: "Server", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.reader, self.writer = server, reader, writer

    async def request(self) -> bytes:
        """Read one whole request and count it; empty at the end of the connection."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            self.server.leftovers.append(error.partial)
            return b""
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        whole = head + await self.reader.readexactly(length)
        self.server.requests.append(whole)
        return whole

    async def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    def reset(self) -> None:
        """End the connection with RST instead of FIN."""
        linger = (1).to_bytes(4, sys.byteorder) + (0).to_bytes(4, sys.byteorder)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


class Server:
    """A raw server on loopback that counts what it saw."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.connections = 0
        self.requests: list[bytes] = []
        self.leftovers: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.ended = asyncio.Semaphore(0)
        self.port = 0

    async def start(self, tls: ssl.SSLContext | None) -> None:
        self.listener = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=tls, backlog=2048)
        self.port = self.listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self.listener.close()
        for writer in self.writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            await self.behaviour(Peer(self, reader, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client went away first
        finally:
            writer.close()
            self.ended.release()

    def url(self, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}/oauth/token?x=1"


class Bench:
    """Servers on a loop of their own, and one transport to try on them."""

    def __init__(self) -> None:
        self.thread = LoopThread("test-servers")
        self.transport = Transport(keep_alive=LONG)  # so that a slow machine does not end a kept connection
        self.servers: list[Server] = []

    def serve(self, behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> Server:
        server = Server(behaviour)
        self.thread.submit(server.start(tls)).result(BOUND)
        self.servers.append(server)
        return server

    def ask(
        self,
        url: str,
        *,
        method: str = "POST",
        body: bytes = b"refresh_token=r",
        deadline: timedelta = LONG,
        guard: Guard | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        request = Request(method, url, headers or {}, body if method == "POST" else b"")
        sending = self.transport.send(request, deadline=deadline, before_first_byte=guard)
        return self.transport.submit(sending).result(BOUND)

    def until_ended(self, server: Server) -> None:
        """Wait until the server has seen one more connection end."""
        self.thread.submit(asyncio.wait_for(server.ended.acquire(), BOUND)).result(BOUND)

    def close(self) -> None:
        self.transport.close()

        async def stop() -> None:
            for server in self.servers:
                await server.stop()

        self.thread.close(stop())


def answering(*pieces: bytes, then_reset: bool = False) -> Behaviour:
    """Read one request, say `pieces`, end the connection."""

    async def behave(peer: Peer) -> None:
        if await peer.request():
            await peer.say(*pieces)
            if then_reset:
                peer.reset()

    return behave


async def keep_answering(peer: Peer) -> None:
    while await peer.request():
        await peer.say(OK)


async def hang(peer: Peer) -> None:
    await peer.request()
    await peer.reader.read()
