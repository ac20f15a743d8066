"""The edges: what the simulation puts in the place of clocks, database, loop thread and Celery, and takes away again.

Everything inside runs as it is in production. No code of the product is changed; each of these names is one at which
the product meets the world.
"""

import asyncio
import logging
import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any

import structlog
from pydantic import SecretStr

import settings as configuration
from models import database
from tasks.journal import Journal, Sizes
from tasks.journal.disk import Disk
from tasks.runtime import clock, runtime
from tests.simulation import database as twin

URL = "postgresql://twin"


class Edges:
    """What an episode provides."""

    settings: configuration.Settings
    engine: twin.Engine
    sizes: Sizes
    boot: Callable[[], timedelta]
    wall: Callable[[], datetime]
    current: Callable[[], Any]
    sleep: Callable[[float], Any]
    seed: str


@contextmanager
def _set(place: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(place, name)
    setattr(place, name, value)
    try:
        yield
    finally:
        setattr(place, name, before)


@contextmanager
def installed(edges: Edges) -> Iterator[None]:
    """Let the product run in an episode."""
    defaults = {**(Journal.__init__.__kwdefaults__ or {}), "sizes": edges.sizes, "clock": edges.wall, "disk": Disk()}
    logged = structlog.get_config()
    state = random.getstate()
    with ExitStack() as stack:
        stack.enter_context(_set(clock, "boot", edges.boot))
        stack.enter_context(_set(clock, "wall", edges.wall))
        stack.enter_context(_set(runtime, "current", edges.current))
        stack.enter_context(_set(configuration, "_current", [edges.settings]))
        stack.enter_context(_set(database, "_engines", dict.fromkeys(database.Lane, (os.getpid(), URL, edges.engine))))
        stack.enter_context(_set(asyncio, "sleep", edges.sleep))
        stack.enter_context(_set(Journal.__init__, "__kwdefaults__", defaults))
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        random.seed(edges.seed)
        try:
            yield
        finally:
            random.setstate(state)
            structlog.configure(**logged)


def settings_of(home: Any, **changes: Any) -> configuration.Settings:
    """Settings of an episode."""
    return configuration.Settings(home=home, environment="simulation", database_url=SecretStr(URL), **changes)
