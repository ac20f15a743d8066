"""Fixtures: a web process's listeners in a thread of this process, on this test's own database."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import settings
from models import application
from models.database import transaction
from models.views.listing import client_by_name
from tests.harness import Harness
from tests.integration.web.asking import Web
from worker.web import server


@contextmanager
def served(wanted: settings.Settings) -> Iterator[server.Addresses]:
    """Serve in a thread while the context is open."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="web", daemon=True)
    thread.start()
    serving = server.serving(wanted)
    try:
        yield asyncio.run_coroutine_threadsafe(serving.__aenter__(), loop).result(30)
        asyncio.run_coroutine_threadsafe(serving.__aexit__(None, None, None), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


def bound(tmp_path: Path, **more: Any) -> settings.Settings:
    """The settings of this test with both listeners on free ports."""
    update = {"token_bind": "127.0.0.1:0", "ops_bind": "127.0.0.1:0", **more}
    return settings.current().model_copy(update=update)


@pytest.fixture
def key(harness: Harness) -> Callable[..., str]:
    """`key("billing", client="demo")`: the key of a new application."""

    def added(name: str = "billing", *, client: str | None = None, clients: Sequence[str] = (), **more: Any) -> str:
        made = application.new_key()
        with transaction() as connection:
            wanted = [*clients, *([] if client is None else [client])]
            ids = [client_by_name(connection, each)["id"] for each in wanted]
            application.add(connection, name, client_ids=ids, key=made, who="tests", **more)
        return made

    return added


@pytest.fixture
def web(harness: Harness, tmp_path: Path, key: Callable[..., str]) -> Iterator[Web]:
    """The listeners, asked with the key of an application that sees every client."""
    with served(bound(tmp_path)) as addresses:
        yield Web(addresses, key())
