"""A town: customers with a real Chromium before real processes, the public listener, a beat and workers."""

import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from playwright.sync_api import Browser, BrowserContext, Page, expect

from models.sealing.vault import KeyRing
from tests.acceptance.cutting import Cutter
from tests.acceptance.installation import READY, Installation, variables, vault_of
from tests.acceptance.programs import Running
from tests.acceptance.providers import Provider
from tests.chromium import PATIENCE_MS, chromium, customer
from tests.polling import eventually

FORMER = "former.keys"


@dataclass
class Town:
    """Everybody who takes part; `database`: through it the processes reach theirs, while a test lets them."""

    installation: Installation
    url: str
    windows: Browser
    database: Cutter
    opened: list[BrowserContext] = field(default_factory=list)
    at_work: Running = field(init=False)

    def welcome(self, name: str, provider: Provider, *options: str) -> None:
        """Register a client, whose pages are Acme's."""
        self.installation.register(name, [*provider.registration(), "--title", "Acme", *options], provider.secret)

    def somebody(self) -> Page:
        """A window of somebody new."""
        context = customer(self.windows)
        self.opened.append(context)
        return context.new_page()

    def link(self, ref: str, client: str) -> str:
        """A new link, as an application has it made in SQL."""
        made = "select evergrant.connect_url(evergrant.request_connect(%s, %s)) as url"
        return str(self.installation.rows(made, [ref, client])[0]["url"])

    def worker(self, **settings: str) -> None:
        """Let a worker be at work, another than before; `settings`: those of its own."""
        usual = self.installation.env
        self.installation.env = usual | variables(settings)
        try:
            self.at_work = self.installation.worker()
        finally:
            self.installation.env = usual

    @property
    def former_ring(self) -> str:
        """A file with the access ring as it was before its keys were rotated."""
        return str(self.installation.folder / FORMER)

    @contextmanager
    def without_database(self) -> Iterator[None]:
        """Whatever is said to the database, or by it, meets a reset meanwhile."""
        self.database.knife = lambda *_: 0
        yield
        self.database.knife = None

    def generation(self, ref: str) -> int:
        """How often the consent of a ref, and those that it replaced, were renewed; 0: none is active."""
        active = "select generation from evergrant.grants where ref = %s and status = 'active'"
        return next((int(row["generation"]) for row in self.installation.rows(active, [ref])), 0)

    def is_renewed(self, ref: str, provider: Provider) -> None:
        """Beat and worker renew a consent when it is asked for, and what is handed out opens the provider's API."""
        before = self.generation(ref)
        assert before

        def renewed() -> bool:
            self.installation.rows("select evergrant.request_refresh(%s)", [ref])  # no sooner than it may be
            return self.generation(ref) > before

        eventually(renewed, timeout=60, every=0.25)
        eventually(lambda: provider.opens(self.installation.handed_out().get(ref, "none")) == 200)


def says(page: Page, heading: str) -> None:
    """Wait until a page says so, by itself."""
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)


def press(page: Page, button: str) -> None:
    """Press what stands on a page."""
    page.get_by_role("button", name=button).click()


def go_on(page: Page, link: str) -> None:
    """Open a link and press its button."""
    page.goto(link)
    press(page, "Continue to")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def town(servers: Any, folder: Path, **settings: str) -> Iterator[Town]:
    """Open one."""
    expect.set_options(timeout=PATIENCE_MS)
    port, name = free_port(), f"town_{os.getpid()}_{time.monotonic_ns()}"
    url = f"http://127.0.0.1:{port}"
    binds = {"public_bind": f"127.0.0.1:{port}", "public_url": url, "ops_bind": f"127.0.0.1:{free_port()}"}
    with chromium() as windows, _database(servers, name) as database_url, _cutter(database_url) as (cutter, through):
        with servers.valkey.connect(servers.worker_number) as broker:
            broker.flushdb()
        installation = Installation.made(
            folder / "installation",
            database_url=database_url,
            broker_url=servers.valkey.url_of(servers.worker_number),
            **(binds | settings),
        )
        installation.env["EVERGRANT_DATABASE_URL"] = through
        _rotate(installation)
        made = Town(installation, url, windows, cutter)
        try:
            _opened(made)
            yield made
        finally:
            for each in made.opened:
                each.close()
            installation.close()


def _opened(made: Town) -> None:
    """Start everything, side by side."""
    installation = made.installation
    web = installation.run("web", [sys.executable, "-m", "worker.cli", "web"])
    beat, made.at_work = installation.beat(wait=False), installation.worker(wait=False)
    said = {web: "web.listening", beat: READY["beat"], made.at_work: READY["worker"]}
    eventually(lambda: all(process.said(each) for process, each in said.items()), timeout=60)
    noted = "select public_url from evergrant.installation where public_url is not null"
    eventually(lambda: installation.rows(noted), timeout=60)


def _rotate(installation: Installation) -> None:
    """Give the access ring an older key, too, which stands alone in a file as well."""
    rings = {name: installation.folder / f"{name}.keys" for name in ("refresh", "access")}
    former = installation.folder / FORMER
    former.touch(mode=0o600)
    former.write_text(KeyRing.generate_line("former") + "\n", encoding="utf-8")
    rings["access"].write_text(rings["access"].read_text() + former.read_text(), encoding="utf-8")
    installation.vault = vault_of(**rings)


@contextmanager
def _database(servers: Any, name: str) -> Iterator[str]:
    with servers.postgres.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield servers.postgres.url_of(name)
    with servers.postgres.connect() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def _cutter(database_url: str) -> Iterator[tuple[Cutter, str]]:
    """A way to a database that a test can cut, and the URL that leads there."""
    socket_of = Path(unquote(database_url.partition("?host=")[2].partition("&")[0])) / ".s.PGSQL.5432"
    with (
        tempfile.TemporaryDirectory(prefix="eg-") as short,  # the path of a socket has 107 bytes
        Cutter(socket_of, at=Path(short) / socket_of.name) as cutter,
    ):
        yield cutter, database_url.replace(quote(str(socket_of.parent)), short)
