"""The authorization flow that httpx and httpx2 share; each refuses the other's classes, so each has its own module."""

from collections.abc import AsyncGenerator, Generator
from typing import Any

import anyio.to_thread

from evergrant_client.authorization import Authorization, is_refused, sign
from evergrant_client.token import Token


def sync_flow(authorization: Authorization, request: Any, *, unread: type[Exception]) -> Generator[Any, Any, None]:
    """Sign and send; on a 401 once more with a newer token."""
    token = authorization.token()
    sign(request.headers, token)
    response = yield request
    if _refused(response, token):
        newer = authorization.after_401(token, can_repeat=_can_repeat(request, unread))
        if newer is not None:
            sign(request.headers, newer)
            yield request


async def async_flow(
    authorization: Authorization, request: Any, *, unread: type[Exception]
) -> AsyncGenerator[Any, Any]:
    """As `sync_flow`; what blocks runs in a thread, so the loop goes on (asyncio and trio alike)."""
    token = await anyio.to_thread.run_sync(authorization.token)
    sign(request.headers, token)
    response = yield request
    if _refused(response, token):
        can_repeat = _can_repeat(request, unread)
        newer = await anyio.to_thread.run_sync(lambda: authorization.after_401(token, can_repeat=can_repeat))
        if newer is not None:
            sign(request.headers, newer)
            yield request


def _refused(response: Any, token: Token) -> bool:
    return is_refused(response.status_code, response.request.headers, token)


def _can_repeat(request: Any, unread: type[Exception]) -> bool:
    """Whether the body is in memory; one that is streamed was used up by the first try."""
    try:
        request.content  # noqa: B018  # it raises where the body was not read
    except unread:
        return False
    return True
