"""The loopback listener of `grants connect` (RFC 8252 §7.3): it waits for the one callback and answers the browser."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from hmac import compare_digest
from urllib.parse import urlsplit

from aiohttp import web

from worker.cli.arguments import port_fault
from worker.cli.failures import Failure, misuse

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Evergrant</title>
<style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:20vh auto;padding:0 1rem}}</style>
<h1>{title}</h1><p>{text}</p></html>"""


@dataclass(frozen=True, slots=True)
class Loopback:
    """Where the listener stands: the parts of a redirect URI on this machine."""

    host: str
    port: int
    path: str

    @classmethod
    def of(cls, redirect_uri: str) -> "Loopback":
        """Take a redirect URI apart.

        Raises:
            Failure: it leads to another machine, so nobody here can listen.

        """
        parts = urlsplit(redirect_uri)
        if parts.scheme != "http" or parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise misuse(
                code="redirect_elsewhere",
                message=f"The redirect URI {redirect_uri} does not lead to this machine",
                next_step="use `evergrant grants authorize-url`, then `evergrant grants exchange`",
            )
        host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
        return cls(host, parts.port or 80, parts.path or "/")


async def wait_for_callback(
    place: Loopback, *, state: str, patience: timedelta, ready: asyncio.Event, code: str = "code"
) -> str | None:
    """Listen until the browser comes back; returns the callback's URL, or None when the time has run out.

    Only what brings this `state` ends it: any page that the browser has open can send it here. `ready` is set once the
    port is open; `code` is what the provider calls the code.

    Raises:
        Failure: the port is in use.

    """
    came: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def callback(request: web.Request) -> web.Response:
        if not compare_digest(request.query.get("state", "").encode(), state.encode()):
            return _page(*STRANGE, status=400)
        if not came.done() and (code in request.query or "error" in request.query):
            came.set_result(str(request.url))
        return _page(*(DENIED if "error" in request.query else THANKS))

    app = web.Application()
    app.router.add_get(place.path, callback)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await _listen(runner, place)
        ready.set()
        return await asyncio.wait_for(came, patience.total_seconds())
    except TimeoutError:
        return None
    finally:
        await runner.cleanup()


THANKS = ("Thank you", "You can close this window; the terminal tells how it went.")
DENIED = ("Not connected", "The provider did not give its consent. You can close this window.")
STRANGE = ("Not connected", "This is not the answer that the terminal waits for. Open its URL again.")
NO_STORE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


async def _listen(runner: web.AppRunner, place: Loopback) -> None:
    try:
        await web.TCPSite(runner, place.host, place.port).start()
    except OSError as error:
        raise Failure(
            code="port_in_use",
            message=f"Port {place.port} cannot be listened on: {port_fault(error)}",
            next_step="end what uses it, or finish with `evergrant grants exchange`",
        ) from None


def _page(title: str, text: str, *, status: int = 200) -> web.Response:
    body = PAGE.format(title=title, text=text)
    return web.Response(text=body, content_type="text/html", headers=NO_STORE, status=status)
