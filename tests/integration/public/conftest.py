"""Fixtures: the public listener over HTTP, the bundled provider, and a worker that exchanges what customers bring."""

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

import settings
from models import ticket, visit
from models.database import Lane, engine, transaction, using
from models.ticket import Wanted
from simulator.control import SimulatorControl
from simulator.launch import simulator_thread
from tasks import exchange
from tasks.runtime.runtime import Runtime
from tests.harness import Harness
from tests.integration.public.browser import PUBLIC_URL, Browser
from tests.integration.web.conftest import served

SCOPES = "crm_read crm_manage"


@pytest.fixture
def provider() -> Iterator[SimulatorControl]:
    """A simulated provider whose authorize page says yes by itself, for `user-1`."""
    with simulator_thread() as control:
        control.create_client("app", "s3cret", redirect_uri=f"{PUBLIC_URL}/callback")
        control.decide_automatically("allow", user="user-1")
        yield control


@pytest.fixture
def client(harness: Harness, provider: SimulatorControl) -> int:
    """A client `shop` at that provider, called `Acme Shop` on its pages."""
    base = provider.url
    made = harness.client(
        "shop",
        authorize_url=f"{base}/oauth/authorize",
        token_url=f"{base}/oauth/token",
        revoke_url=f"{base}/oauth/revoke",
        api_url=f"{base}/v2/bookings",
    )
    harness.run(
        """update evergrant.clients set title = 'Acme Shop', colour = '#aa3300',
            logo_url = 'https://acme.example/logo.png', return_to_urls = '{https://acme.example/settings}'
        where id = :id""",
        id=made,
    )
    return made


@pytest.fixture
def link(client: int) -> Callable[..., str]:
    """`link("customer-42")`: a new link for this ref."""

    def made(ref: str = "customer-42", *, other_account_allowed: bool = False, **said: Any) -> str:
        with transaction() as connection:
            wanted = Wanted(ref, **said)
            made = ticket.make(connection, client, wanted, other_account_allowed=other_account_allowed, who="tests")
        return f"{PUBLIC_URL}/connect/{made}"

    return made


@contextmanager
def listening(**more: Any) -> Iterator[str]:
    """The public listener while the context is open; yields where it stands."""
    wanted = {"ops_bind": "127.0.0.1:0", "public_bind": "127.0.0.1:0", "public_url": PUBLIC_URL}
    update = wanted | {"public_behind_proxy": True} | more
    with served(settings.current().model_copy(update=update)) as addresses:
        assert addresses.public is not None
        yield addresses.public


@pytest.fixture
def public(harness: Harness) -> Iterator[str]:
    """Where the public listener stands."""
    with listening() as address:
        yield address


@pytest.fixture
def browser(public: str) -> Browser:
    """A customer's browser."""
    return Browser(public)


@contextmanager
def away_at(statement: str, *, spared: int = 0) -> Iterator[None]:
    """Let the database be gone whenever it comes to this statement, but for the first few times."""
    times = itertools.count(1)

    def cut(connection: Any, _cursor: Any, sent: str, *_: Any) -> None:
        if statement in sent and next(times) > spared:
            connection.connection.driver_connection.close()

    found = engine()
    event.listen(found, "before_cursor_execute", cut)
    yield
    event.remove(found, "before_cursor_execute", cut)


class Exchanging:
    """Beat's offers and a worker's exchanges, in a thread; `stop` and `once` for tests that look in between."""

    def __init__(self, harness: Harness) -> None:
        self._harness = harness
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def once(self) -> int:
        """One look; returns how many visits were offered."""
        with transaction() as connection:
            offered = visit.offer(connection)
        exchange.carry_out(self._harness.runtime, offered)
        self._harness.runtime.exchanges.wait_until_quiet(timedelta(seconds=60))
        return len(offered)

    def dies_before_it_stores(self) -> None:
        """A process of its own takes the code, journals the answer, and is gone before it has stored it."""
        dying = Runtime.open(self._harness.settings)
        with transaction() as connection:
            offered = visit.offer(connection)
        with using(Lane.ASKED), away_at("insert into evergrant.grants"):
            exchange.carry_out(dying, offered, patience=timedelta(seconds=0.1))
            dying.close()

    def _run(self) -> None:
        while not self._ended.wait(0.05):
            self.once()


@pytest.fixture
def worker(harness: Harness) -> Exchanging:
    """A worker that does nothing by itself."""
    return Exchanging(harness)


@pytest.fixture
def working(worker: Exchanging) -> Iterator[Exchanging]:
    """A worker that exchanges."""
    worker.start()
    yield worker
    worker.stop()


@dataclass(frozen=True)
class Scene:
    """A customer's browser before the listener, with the provider behind and a worker that waits for a word."""

    harness: Harness
    provider: SimulatorControl
    public: str
    browser: Browser
    link: Callable[..., str]
    worker: Exchanging

    def rows(self, query: str, **values: Any) -> list[Any]:
        """Rows of a query."""
        with transaction() as connection:
            return list(connection.execute(text(query), values))


@pytest.fixture
def scene(
    harness: Harness, provider: SimulatorControl, browser: Browser, link: Callable[..., str], worker: Exchanging
) -> Scene:
    """Everything that a test of the public listener looks at."""
    return Scene(harness, provider, browser.public, browser, link, worker)
