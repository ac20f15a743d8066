"""The process `evergrant web`: its listeners, opened together and closed in peace."""

import asyncio
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge

from models import process
from models.sealing.keys import VARIABLES, KeysError, read_ring
from models.sealing.vault import Vault
from models.states.process import ProcessKind
from settings import Settings
from worker.web import wire
from worker.web.applications import Applications, Rates
from worker.web.database import Database
from worker.web.fleet_metrics import FleetMetrics
from worker.web.grants import Grants
from worker.web.listening import listen, ops_listener, token_listener
from worker.web.news import News
from worker.web.notices import Notices
from worker.web.operators import OperatorsListener
from worker.web.token_interface import TokenInterface
from worker.web.traffic import Traffic

log = structlog.get_logger()

PULSE_SECONDS = 5.0
SHUTDOWN_SECONDS = 3.0  # what a slow reader gets to take its answer


@dataclass(frozen=True)
class Addresses:
    """Where this process listens, as people write it."""

    ops: str
    token: str | None


def run(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        SettingsError: a listener may not or cannot be opened.
        KeysError: the access key ring cannot be used.

    """
    asyncio.run(_until_a_signal(settings))


async def _until_a_signal(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(settings):
        await stop.wait()
        log.info("web.stopping")


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Addresses]:
    """Serve while the context is open; yields the addresses.

    Raises:
        SettingsError: a listener may not or cannot be opened.
        KeysError: the access key ring cannot be used.

    """
    _raise_open_files()
    wanted, (ops_address, password) = token_listener(settings), ops_listener(settings)
    database, registry, news = Database(), CollectorRegistry(), News()
    vault = access_vault(settings)
    grants = Grants(settings, database, vault, news)
    metrics = FleetMetrics(database)
    registry.register(metrics)
    waiting = Gauge("evergrant_web_waiting", "Requests that wait for a token set.", registry=registry)
    waiting.set_function(lambda: news.waiting)
    operators = OperatorsListener(database, metrics, registry, environment=settings.environment)
    rates, notices = Rates(settings.token_requests_per_second), Notices(settings, database, vault)
    interface = TokenInterface(grants, Applications(database), rates, notices)
    # Both stand before either listens: what may not be is refused before anybody is answered.
    ops = _runner(operators.application(password))
    tokens = _runner(interface.application(Traffic(registry)))
    try:
        await ops.setup()
        await tokens.setup()
        token_url = None
        if wanted is not None:
            token_url = await listen(tokens, *wanted, variable="EVERGRANT_TOKEN_BIND")
            news.start()
        ops_url = await listen(ops, ops_address, None, variable="EVERGRANT_OPS_BIND")
        log.info("web.listening", ops=ops_url, tokens=token_url)
        async with _alive(database):
            try:
                yield Addresses(ops_url, token_url)
            finally:
                news.end()  # whoever waits is answered
    finally:
        news.end()
        await tokens.cleanup()
        await ops.cleanup()
        await database.close()


def access_vault(settings: Settings) -> Vault:
    """The access ring alone: this process opens nothing that could be refreshed.

    Raises:
        KeysError: there is none, or it cannot be used.

    """
    variable = VARIABLES["access"]
    ring = read_ring(variable, settings.access_token_keys, settings.access_token_keys_file)
    if ring is None:
        message = f"`evergrant web` needs the access key ring: set {variable} or {variable}_FILE"
        raise KeysError(message)
    return Vault(refresh=None, access=ring)


def _runner(app: web.Application) -> web.AppRunner:
    """Whoever leaves is waited for no longer; no request is logged by its address, which holds a ref."""
    # A compressed body is no JSON to us: what it unpacks to has no bound.
    return web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,
        handler_cancellation=True,
        logger=wire.logger,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )


@asynccontextmanager
async def _alive(database: Database) -> AsyncIterator[None]:
    """Say every few seconds that this process lives, and at the end that it is gone."""
    ended, identity = asyncio.Event(), uuid4()
    heartbeat = asyncio.create_task(_heartbeat(database, identity, ended))
    try:
        yield
    finally:
        ended.set()
        await heartbeat
        with suppress(Exception):
            await database.run(lambda connection: process.leave(connection, identity))


async def _heartbeat(database: Database, identity: UUID, ended: asyncio.Event) -> None:
    facts: dict[str, Any] = {"kind": ProcessKind.WEB, "host": socket.gethostname(), "pid": os.getpid()}
    while not ended.is_set():
        try:
            await database.run(lambda connection: process.see(connection, identity, **facts))
        except Exception as error:  # noqa: BLE001  # the next one may do it
            log.warning("web.not_signed_in", error=type(error).__name__)
        with suppress(TimeoutError):
            async with asyncio.timeout(PULSE_SECONDS):
                await ended.wait()


def _raise_open_files() -> None:
    """Let this process have as many sockets as it may: each waiting request needs one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
