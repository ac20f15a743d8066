"""The loopback listener of `grants connect` (RFC 8252 §7.3): it waits for the one callback and answers the browser."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
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
    place: Loopback, *, patience: timedelta, ready: asyncio.Event, code: str = "code"
) -> str | None:
    """Listen until the browser comes back; returns the callback's URL, or None when the time has run out.

    `ready` is set once the port is open; `code` is what the provider calls the code.

    Raises:
        Failure: the port is in use.

    """
    came: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def callback(request: web.Request) -> web.Response:
        if not came.done() and (code in request.query or "error" in request.query):
            came.set_result(str(request.url))
        title, text = _shown(denied="error" in request.query)
        return web.Response(text=PAGE.format(title=title, text=text), content_type="text/html", headers=NO_STORE)

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


def _shown(*, denied: bool) -> tuple[str, str]:
    if denied:
        return "Not connected", "The provider did not give its consent. You can close this window."
    return "Thank you", "You can close this window; the terminal tells how it went."
