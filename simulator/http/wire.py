"""The wire: sends answers over a real connection, whole, or spoilt as a fault demands."""

import asyncio
import contextlib
import json
import socket
import struct
from http import HTTPStatus

from aiohttp import web

from simulator.answers import Answer
from simulator.distortion import distorted
from simulator.fault import Act, Fault


def encoded(answer: Answer) -> bytes:
    """Write an answer's body as bytes."""
    if answer.body is None:
        return b""
    return answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()


async def send(request: web.Request, answer: Answer) -> tuple[web.Response, bool]:
    """Send an answer; the second value says whether the client was still there when it was written.

    Nothing is asked *after* the write: a quick client has read the answer and closed the connection by then.
    """
    headers = dict(answer.headers)
    body = encoded(answer)
    if body:
        headers["Content-Type"] = answer.content_type
    response = web.Response(status=answer.status, body=body, headers=headers)
    try:
        await response.prepare(request)
        await response.write_eof()
    except ConnectionError:
        return response, False
    return response, True


async def misbehave(request: web.Request, fault: Fault, answer: Answer) -> tuple[web.Response, bool]:
    """Carry out a fault; `answer` is the provider's own, or an empty 200 where it did not act.

    The second value says whether the client was still there at the end.
    """
    there = True
    match fault.act:
        case Act.HANG:
            await _until_gone(request, fault.hang_seconds)
            _close(request, reset=False)
        case Act.DROP | Act.RESET:
            _close(request, reset=fault.act is Act.RESET)
        case Act.TRUNCATE:
            head, body = _raw(answer)
            raw = head + body
            _write(request, raw[: fault.at if fault.part == "answer" else len(head) + fault.at])
            _close(request, reset=False)
        case Act.DRIP:
            there = await _drip(request, b"".join(_raw(answer)), fault.interval_seconds)
            _close(request, reset=False)
        case _:
            return await send(request, distorted(fault, answer))
    # The connection is closed or closing: whatever is returned now goes nowhere, and aiohttp is silent about it.
    return web.Response(), there


def _raw(answer: Answer) -> tuple[bytes, bytes]:
    """Write head and body as they would stand on the wire, to be cut wherever a test wants."""
    body = encoded(answer)
    lines = [
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in answer.headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode(), body


def _write(request: web.Request, data: bytes) -> None:
    if isinstance(request.transport, asyncio.WriteTransport):
        request.transport.write(data)


async def _drip(request: web.Request, data: bytes, interval_seconds: float) -> bool:
    for position, byte in enumerate(data):
        if position:
            await asyncio.sleep(interval_seconds)
        if _gone(request):
            return False
        _write(request, bytes((byte,)))
    return True


def _gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


async def _until_gone(request: web.Request, seconds: float) -> None:
    """Wait until the client has closed the connection, or for some seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not _gone(request):  # noqa: ASYNC110 (aiohttp tells a handler of a lost client in no other way)
                await asyncio.sleep(0.05)


def _close(request: web.Request, *, reset: bool) -> None:
    transport = request.transport
    if transport is None:
        return
    if reset and isinstance(transport, asyncio.Transport):
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    else:
        transport.close()
