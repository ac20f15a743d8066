"""Entries: what a forked process becomes. Each runs the real program; its fail-points were laid before."""

import importlib
from collections.abc import Callable
from http.client import HTTPConnection
from typing import Any, Final
from urllib.parse import urlsplit

from celery import signals
from sqlalchemy.exc import OperationalError

from settings import current
from tasks import code_exchange, connect
from tasks.connect_errors import ConnectError
from tasks.journal import JournalBroken
from tasks.runtime.registration import Registrations
from tasks.runtime.runtime import Runtime
from tasks.settling.consent import ConsentError
from tests.crashes.trace import Trace
from worker.celery import app

# What the programs import lazily: once here, instead of in every process.
LAZY: Final = (
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.bin.celery",
    "celery.bin.worker",
    "celery.concurrency.thread",
    "celery.worker.components",
    "celery.worker.consumer",
    "celery.worker.strategy",
    "kombu.transport.redis",
    "psycopg_binary",
    "sqlalchemy.dialects.postgresql.psycopg",
    "tasks.refresh",
    "tasks.revoke",
    "tasks.upkeep",
    "worker.beat",
    "worker.service",
)


def preload() -> None:
    """Import everything and open nothing."""
    for name in LAZY:
        importlib.import_module(name)
    app.finalize(auto=True)


def worker(name: str, trace: Trace) -> None:
    """`celery -A worker worker`."""
    signals.worker_ready.connect(lambda **_: trace.say("ready"), weak=False)
    app.worker_main(["worker", "-n", f"{name}@localhost"])


def beat(_: str, trace: Trace) -> None:
    """`celery -A worker beat`."""
    trace.say("ready")
    app.Beat(pidfile=None).run()


def exchange(_: str, trace: Trace, *, client_id: int, ref: str) -> None:
    """`evergrant grants exchange`, with a user who allows it."""
    runtime = Runtime.open(current())
    try:
        invited = connect.begin(
            Registrations(runtime.vault, current()),
            runtime.vault,
            client_id,
            ref,
            labels={},
            scopes=[],
            redirect_uri=None,
            who="crashes",
        )
        back = visit(f"{invited.url}&auto=allow&user={ref}")
        trace.say("consented", ref=ref)
        stored = code_exchange.finish(runtime, connect.read_callback(back), client_id=client_id, ref=ref, who="crashes")
        trace.say("stored", ref=ref, how=stored.how)
    except (ConnectError, ConsentError, JournalBroken, OperationalError) as error:
        trace.say("not_connected", ref=ref, error=type(error).__name__)
    finally:
        runtime.close()
    raise SystemExit(0)


def visit(url: str) -> str:
    """Follow the authorize URL as a browser does; returns where it leads back to."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=10)
    connection.request("GET", f"{parts.path}?{parts.query}")
    location = connection.getresponse().headers["Location"]
    connection.close()
    return str(location)


ENTRIES: Final[dict[str, Callable[..., Any]]] = {"worker": worker, "beat": beat, "exchange": exchange}
