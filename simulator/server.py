"""The simulator as a server: one provider, its pages, its API and its control endpoint on one loopback port."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import click
from aiohttp import web

from simulator.client import Client
from simulator.fault import read_fault
from simulator.fault_book import FaultBook
from simulator.habits import habits_for
from simulator.http.control_routes import ControlRoutes
from simulator.http.pages import Automatic, Pages
from simulator.http.routes import Clock, Routes
from simulator.provider import SimulatedProvider

HOST = "127.0.0.1"
DEFAULT_PORT = 9455  # as in tasks/oauth/providers/simulator.toml
KEPT_REQUESTS = 500_000

# Ready to use, so that trying something needs no control call first.
READY_CLIENT = Client(
    client_id="simulated-client",
    secret="simulated-secret",  # noqa: S106 (published, opens nothing)
    redirect_uris=("http://127.0.0.1:8400/callback", "http://localhost:8400/callback"),
    name="Your integration",
)


@dataclass(slots=True)
class Simulator:
    """One simulated provider with everything around it that HTTP needs."""

    provider: SimulatedProvider
    faults: FaultBook = field(default_factory=FaultBook)
    automatic: Automatic = field(default_factory=Automatic)
    clock: Clock = time.time
    paths: Mapping[str, Sequence[str]] = field(default_factory=dict)  # further ones, by endpoint

    def application(self) -> web.Application:
        """Build the aiohttp application."""
        routes = Routes(self.provider, self.faults, self.clock, self.paths)
        pages = Pages(self.provider, self.faults, self.clock, self.automatic, self.paths.get("authorize", ()))
        control = ControlRoutes(self.provider, self.faults, self.clock, self.automatic)
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.add_routes([*routes.table(), *pages.table(), *control.table()])
        app.router.add_route("*", "/{anything:.*}", routes.nowhere)
        return app


def make(
    *,
    profile: str = "on_use",
    dialect: str = "event-temple",
    lifetime: timedelta | None = timedelta(hours=2),
    rate: int | str | None = None,
    faults: Sequence[str] = (),
    seed: int = 0,
    habits: Mapping[str, Any] | None = None,
    paths: Mapping[str, Sequence[str]] | None = None,
) -> Simulator:
    """Make a simulator; `rate` is requests a minute and application, as 100 or "100/minute".

    `habits`: single ones that differ from the dialect's. `paths`: where it answers besides its own, by endpoint:
    token, revoke, api, authorize.

    Raises:
        ValueError: a profile, dialect, rate or fault cannot be read; the message says which.
    """
    provider = SimulatedProvider(
        habits_for(profile, dialect, **(habits or {})),
        lifetime_seconds=lifetime.total_seconds() if lifetime is not None else None,
        rate=read_rate(rate),
        seed=seed,
        keep_requests=KEPT_REQUESTS,
    )
    provider.register(READY_CLIENT)
    book = FaultBook(seed)
    for text in faults:
        book.add(read_fault(text))
    return Simulator(provider, book, paths=paths or {})


def read_rate(rate: int | str | None) -> int | None:
    """Read a rate such as 100, "100" or "100/minute".

    Raises:
        ValueError: it is none of these.
    """
    if rate is None or isinstance(rate, int):
        return rate
    number, _, unit = rate.partition("/")
    if not number.isdecimal() or unit not in ("", "minute"):
        message = f"rate {rate!r}: say the requests per minute, as in 100/minute"
        raise ValueError(message)
    return int(number)


@asynccontextmanager
async def listening(simulator: Simulator, port: int = 0) -> AsyncIterator[str]:
    """Serve on loopback while the context is open; yields the base URL (port 0: any free one).

    Raises:
        OSError: the port is in use.
    """
    runner = web.AppRunner(simulator.application(), access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, port, backlog=1024)
        await site.start()
        yield f"http://{HOST}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def run(
    *,
    port: int = DEFAULT_PORT,
    profile: str = "on_use",
    lifetime: timedelta | None = timedelta(hours=2),
    rate: int | str | None = None,
    faults: Sequence[str] = (),
    seed: int = 0,
    dialect: str = "event-temple",
    habits: Mapping[str, Any] | None = None,
    paths: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; prints one line with the URL as soon as it listens. The rest as `make`.

    Raises:
        ValueError: an argument cannot be read.
        OSError: the port is in use.
    """
    simulator = make(
        profile=profile,
        dialect=dialect,
        lifetime=lifetime,
        rate=rate,
        faults=faults,
        seed=seed,
        habits=habits,
        paths=paths,
    )
    asyncio.run(_serve_until_stopped(simulator, port))


async def _serve_until_stopped(simulator: Simulator, port: int) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with listening(simulator, port) as url:
        click.echo(f"Simulated provider at {url} ({_described(simulator)}). Ctrl-C ends it.")
        await stopped.wait()


def _described(simulator: Simulator) -> str:
    provider = simulator.provider
    life = "no expiry" if provider.lifetime_seconds is None else f"tokens of {provider.lifetime_seconds:g} s"
    rate = "no rate limit" if provider.limiter.limit is None else f"{provider.limiter.limit} requests a minute"
    return f"{provider.habits.profile}, {life}, {rate}, client {READY_CLIENT.client_id}"
