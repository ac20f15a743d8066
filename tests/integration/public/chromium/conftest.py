"""Fixtures: the same public listener over TLS of its own, and customers with a real Chromium."""

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from simulator.control import SimulatorControl
from simulator.launch import simulator_thread
from tests.certificates import written
from tests.chromium import PATIENCE_MS, chromium, customer
from tests.harness import Harness
from tests.integration.public.browser import PUBLIC_URL
from tests.integration.public.conftest import Exchanging, Scene, listening
from tests.polling import eventually

APPLICATION = "https://shop.test/settings"
OPEN = ("01", "08")  # ESTABLISHED, CLOSE_WAIT (proc_net_tcp)
PROVIDER = "The bundled simulator (development only)"
GO_ON = f"Continue to {PROVIDER}"


@pytest.fixture(scope="module")
def windows() -> Iterator[Browser]:
    """A Chromium; it ends with its module, for it keeps an event loop in this thread."""
    expect.set_options(timeout=PATIENCE_MS)
    with chromium() as found:
        yield found


@pytest.fixture
def base() -> str:
    """By which address customers come; another site than the provider's and the application's."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return f"https://connect.test:{found.getsockname()[1]}"


@pytest.fixture
def provider(base: str) -> Iterator[SimulatorControl]:
    """A simulated provider whose authorize page asks its user."""
    with simulator_thread() as control:
        control.create_client("app", "s3cret", redirect_uri=f"{base}/callback")
        yield control


@pytest.fixture
def public(harness: Harness, base: str, tmp_path: Path) -> Iterator[str]:
    """Where the public listener stands, with a certificate and no proxy."""
    certificate, key = written(tmp_path)
    with listening(
        public_bind=f"127.0.0.1:{urlsplit(base).port}",
        public_url=base,
        public_behind_proxy=False,
        public_tls_certificate=certificate,
        public_tls_key=key,
    ) as address:
        yield address


@dataclass
class Street:
    """Everybody who takes part, each with a browser of their own."""

    scene: Scene
    base: str
    windows: Browser
    opened: list[BrowserContext]

    @property
    def worker(self) -> Exchanging:
        return self.scene.worker

    def link(self, ref: str = "customer-42", **said: Any) -> str:
        """A new link."""
        return str(self.scene.link(ref, **said)).replace(PUBLIC_URL, self.base)

    def somebody(self, **more: Any) -> BrowserContext:
        """A browser of somebody new, that finds the application and an attacker's site, too."""
        context = customer(self.windows, **more)
        context.route(f"{APPLICATION}**", _application)
        self.opened.append(context)
        return context

    def rows(self, query: str, **values: Any) -> list[Any]:
        """Rows of a query."""
        return self.scene.rows(query, **values)

    def refs(self) -> list[str]:
        """What is connected."""
        return [ref for (ref,) in self.rows("select ref from evergrant.grants order by ref")]

    def asked(self) -> int:
        """How often the provider was asked for tokens."""
        return len(self.scene.provider.requests(endpoint="token"))


def _application(route: Route) -> None:
    told = {name: values[0] for name, values in parse_qs(urlsplit(route.request.url).query).items()}
    heading = " ".join(f"{name}={value}" for name, value in sorted(told.items()))
    route.fulfill(content_type="text/html", body=f"<!doctype html><title>Shop</title><h1>{heading}</h1>")


@pytest.fixture
def street(scene: Scene, base: str, windows: Browser) -> Iterator[Street]:
    """The public listener, its provider, and whoever comes."""
    scene.harness.run("update evergrant.clients set return_to_urls = :urls", urls=[APPLICATION])
    # Nothing but this machine is asked, so there is no logo to be had.
    scene.harness.run("update evergrant.clients set logo_url = null")
    made = Street(scene, base, windows, [])
    yield made
    for each in made.opened:
        each.close()
    eventually(lambda: not connected_at(urlsplit(base).port or 0))


def connected_at(port: int) -> list[str]:
    """Connections at a port of this machine that one side has not ended, or has not heard that the other did."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return [remote for _, local, remote, state, *_ in lines if local.endswith(f":{port:04X}") and state in OPEN]


@pytest.fixture
def ada(street: Street) -> Page:
    """A window of a customer."""
    return street.somebody().new_page()


@pytest.fixture
def says() -> Callable[[Page, str], None]:
    """`says(page, "Connected")`: wait until its heading is that."""
    return lambda page, heading: expect(page.get_by_role("heading", level=1)).to_have_text(heading)
