"""Live events: server-sent ones for whoever has the page of events open, each a little later than it is committed."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final

from aiohttp import web
from sqlalchemy import Connection, RowMapping

from models.views import events
from worker.cli import output
from worker.cli.events import LATE_IDS, record_of
from worker.web.pages.rendering import HEADERS, client_url, grant_url

PAGE: Final = 200
MOST_AT_ONCE: Final = 8
PAUSE_SECONDS: Final = 1.0
# Shorter than a request may take here (worker/web/server.py): a browser comes back by itself, and goes on where it was.
LIFE: Final = timedelta(seconds=45)

Read = Callable[[Callable[[Connection], Any]], Awaitable[Any]]


def shown(row: RowMapping) -> dict[str, Any]:
    """An event as the page has it: every text fit to be seen."""
    found = record_of(row)
    names = ("type", "client", "ref", "generation", "reason", "data", "actor")
    ref, client = found["ref"], found["client"]
    return {
        "id": row["id"],
        "at": output.iso(row["occurred_at"]),
        **{name: output.cell(found[name]) for name in names},
        "href": grant_url(client, ref) if ref and client else client_url(client) if client else None,
    }


class Live:
    """Streams of events; each looks once a second."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._open = 0
        self._ended = asyncio.Event()

    async def end(self, app: web.Application) -> None:
        """Let everybody go."""
        del app
        self._ended.set()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Events above the number that the browser has seen, as they come."""
        if self._open >= MOST_AT_ONCE:
            return web.Response(status=503, text="Too many watch already; reload the page instead.\n", headers=HEADERS)
        said = request.headers.get("Last-Event-ID") or request.query.get("after", "")
        self._open += 1
        try:
            return await self._told(request, int(said) if said.isascii() and said.isdecimal() else None)
        finally:
            self._open -= 1

    async def _told(self, request: web.Request, after: int | None) -> web.StreamResponse:
        last = after if after is not None else int(await self._read(events.last_id))
        known = {row["id"] for row in await self._read(partial(_late, last=last))}
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        await response.write(b"retry: 1000\n\n")
        until = asyncio.get_running_loop().time() + LIFE.total_seconds()
        while asyncio.get_running_loop().time() < until and not self._ended.is_set():
            low = max(0, last - LATE_IDS)
            rows = await self._read(partial(events.events, after=low, most=PAGE + LATE_IDS))
            new = [row for row in rows if row["id"] not in known]
            known |= {row["id"] for row in new}
            last = max([last, *(row["id"] for row in new)])
            known = {each for each in known if each > last - 2 * LATE_IDS}
            await response.write(_written(new))
            await self._pause()
        return response

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._ended.wait(), PAUSE_SECONDS)
        except TimeoutError:
            return


def _late(connection: Connection, *, last: int) -> Sequence[RowMapping]:
    """What the page has shown already of those whose number may be that of one committed later."""
    rows = events.events(connection, after=max(0, last - LATE_IDS), most=LATE_IDS)
    return [row for row in rows if row["id"] <= last]


def _written(rows: Sequence[RowMapping]) -> bytes:
    """Events as a stream has them; a comment where there is none, so that whoever has left is noticed."""
    if not rows:
        return b":\n\n"
    return "".join(f"id: {row['id']}\ndata: {json.dumps(shown(row))}\n\n" for row in rows).encode()
