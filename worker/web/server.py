"""The process `evergrant web`: its listeners, opened together and closed in peace."""

import asyncio
import resource
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import UUID, uuid4

import structlog
import uvloop
from prometheus_client import CollectorRegistry, Gauge

from models import process
from models.database import Lane
from models.process import Presence
from models.sealing.keys import VARIABLES, KeysError, read_ring
from models.sealing.vault import Vault
from models.states.process import ProcessKind
from models.views.access_token import ByRef
from settings import Settings, SettingsError
from tasks.oauth.loop_thread import LoopThread
from tasks.runtime import presence
from worker import garbage, large_blocks, service_manager
from worker.audit.trail import AuditUnwritable, Trail
from worker.web.applications import Applications, Rates
from worker.web.audited import Auditor
from worker.web.connection_metrics import ConnectionMetrics
from worker.web.connections import Connections, Limits
from worker.web.database import Database
from worker.web.door import Door
from worker.web.fleet_metrics import FleetMetrics
from worker.web.grants import Grants, States
from worker.web.listening import ops_listener, token_listener
from worker.web.news import News
from worker.web.notices import Notices
from worker.web.operators import OperatorsListener
from worker.web.pages.fleet_pages import FleetPages
from worker.web.public.opening import Public
from worker.web.reads import Reads
from worker.web.tickets import Tickets
from worker.web.token_interface import TokenInterface
from worker.web.traffic import Traffic

log = structlog.get_logger()

PULSE_SECONDS = 5.0
# A scraper keeps its connection from one look to the next.
OPERATORS = Limits(in_all=64, strangers=64, idle=timedelta(minutes=5), whole=timedelta(minutes=1))

T = TypeVar("T")


class Databases:
    """The connections of this process, by what they are for, so that nobody waits for somebody else's work."""

    def __init__(self, settings: Settings) -> None:
        self.states: States = Reads(ByRef(environment=settings.environment))
        self.reads, self.asked, self.looks = (Database(lane) for lane in (Lane.HEART, Lane.ASKED, Lane.CHORES))
        # A look at a large fleet takes seconds, and readiness is asked for meanwhile.
        self.ready = Database(Lane.HEART, threads=1)
        # Whoever looks at pages takes from those who read tokens two connections at most, and for short.
        self.shown = Database(Lane.HEART, threads=2)

    async def close(self) -> None:
        """Close all of them."""
        for database in (self.states, self.reads, self.asked, self.looks, self.ready, self.shown):
            await database.close()


@dataclass(frozen=True)
class Addresses:
    """Where this process listens, as people write it."""

    ops: str
    token: str | None
    public: str | None = None


def run(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        SettingsError: a listener may not or cannot be opened.
        KeysError: the access key ring cannot be used.

    """
    uvloop.run(_until_a_signal(settings))


async def _until_a_signal(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    large_blocks.give_back_when_free()
    async with serving(settings):
        garbage.rest()
        service_manager.tell(service_manager.READY)
        telling = asyncio.create_task(service_manager.keep_telling())
        await stop.wait()
        log.info("web.stopping")
        telling.cancel()


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Addresses]:
    """Serve while the context is open; yields the addresses.

    Raises:
        SettingsError: a listener may not or cannot be opened.
        KeysError: the access key ring cannot be used.

    """
    files = _raise_open_files()
    wanted, (ops_address, password) = token_listener(settings), ops_listener(settings)
    vault, registry, news = access_vault(settings), CollectorRegistry(), News()
    databases = Databases(settings)
    public = Public.of(settings, vault, files=files)
    ops = _operators_door(settings, databases, registry, password)
    tokens = _token_door(settings, databases, registry, vault=vault, news=news, limits=Limits.of_open_files(files))
    # The operators' listener has a loop of its own: it answers whatever happens on the other one.
    apart = LoopThread("operators")
    try:
        # Both stand before either listens: what may not be is refused before anybody is answered.
        await _on(apart, ops.set_up())
        await tokens.set_up()
        public_url = None if public is None else await public.open()
        token_url = None
        if wanted is not None:
            token_url = await tokens.open(*wanted, variable="EVERGRANT_TOKEN_BIND")
            news.start()
        ops_url = await _on(apart, ops.open(ops_address, None, variable="EVERGRANT_OPS_BIND"))
        log.info("web.listening", ops=ops_url, tokens=token_url, public=public_url)
        async with _alive(databases.reads, settings, vault):
            try:
                yield Addresses(ops_url, token_url, public_url)
            finally:
                news.end()  # whoever waits is answered
    finally:
        news.end()
        if public is not None:
            await public.close()
        await tokens.close()
        await asyncio.to_thread(apart.close, ops.close())
        await databases.close()


def _token_door(
    settings: Settings, databases: Databases, registry: CollectorRegistry, *, vault: Vault, news: News, limits: Limits
) -> Door:
    """Where applications read tokens, and providers tell of themselves."""
    reads, asked = databases.reads, databases.asked
    waiting = Gauge("evergrant_web_waiting", "Requests that wait for a token set.", registry=registry)
    waiting.set_function(lambda: news.waiting)
    connections = Connections(limits)
    registry.register(ConnectionMetrics(connections))
    interface = TokenInterface(
        Grants(settings, vault, news, states=databases.states, reads=reads, asked=asked),
        Applications(reads),
        Rates(settings.token_requests_per_second),
        Notices(settings, reads, asked, vault),
        tickets=Tickets(settings, asked),
        auditor=auditor(settings, vault),
    )
    return Door(interface.application(Traffic(registry)), connections)


def _operators_door(
    settings: Settings, databases: Databases, registry: CollectorRegistry, password: str | None
) -> Door:
    """Where operators and their machines look."""
    metrics = FleetMetrics(databases.looks, environment=settings.environment)
    registry.register(metrics)
    pages = FleetPages(settings, databases.shown, databases.looks)
    listener = OperatorsListener(databases.ready, metrics, registry, pages, environment=settings.environment)
    return Door(listener.application(password), Connections(OPERATORS))


async def _on(thread: LoopThread, coroutine: Coroutine[Any, Any, T]) -> T:
    return await asyncio.wrap_future(thread.submit(coroutine))


def access_vault(settings: Settings) -> Vault:
    """The access ring alone: this process opens nothing that could be refreshed.

    Raises:
        KeysError: there is none, or it cannot be used.

    """
    variable = VARIABLES["access"]
    ring = read_ring("access", settings)
    if ring is None:
        message = f"`evergrant web` needs the access key ring: set {variable} or {variable}_FILE"
        raise KeysError(message)
    return Vault(refresh=None, access=ring)


def auditor(settings: Settings, vault: Vault) -> Auditor | None:
    """What notes who was handed what; None: nothing does.

    Raises:
        SettingsError: the file cannot be used.

    """
    try:
        trail = Trail.of(settings)
    except AuditUnwritable as error:
        message = f"EVERGRANT_AUDIT_FILE: {settings.audit_file} cannot be used: {error}"
        raise SettingsError(message) from None
    return None if trail is None else Auditor(trail, vault)


@asynccontextmanager
async def _alive(database: Database, settings: Settings, vault: Vault) -> AsyncIterator[None]:
    """Say every few seconds that this process lives, and at the end that it is gone."""
    ended, identity = asyncio.Event(), uuid4()
    heartbeat = asyncio.create_task(_heartbeat(database, partial(_presence, identity, settings, vault), ended))
    try:
        yield
    finally:
        ended.set()
        await heartbeat
        with suppress(Exception):
            await database.run(lambda connection: process.leave(connection, identity))


def _presence(identity: UUID, settings: Settings, vault: Vault) -> Presence:
    keys = presence.ids_of(vault.access)
    return presence.of_process(identity, ProcessKind.WEB, environment=settings.environment, access_key_ids=keys)


async def _heartbeat(database: Database, said: Callable[[], Presence], ended: asyncio.Event) -> None:
    while not ended.is_set():
        try:
            await database.run(lambda connection: process.see(connection, said()))
        except Exception as error:  # noqa: BLE001  # the next one may do it
            log.warning("web.not_signed_in", error=type(error).__name__)
        with suppress(TimeoutError):
            async with asyncio.timeout(PULSE_SECONDS):
                await ended.wait()


def _raise_open_files() -> int:
    """Let this process have as many sockets as it may, and say how many: each waiting request needs one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most
