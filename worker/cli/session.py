"""What a command needs before it can work: settings with the engines found, a checked database."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy import Connection, text

import settings
from models import database, migrations
from settings import Settings
from worker.logs import redact

# A reader may look at a long list in a pager; the engine's own limit is meant for work, not for people.
READER_IDLE = "10min"


def prepared() -> Settings:
    """The settings of this process; where no database is set, those of the `evergrant up` of the same home.

    Raises:
        SettingsError: a variable cannot be used.
        EmbeddedError: no URL is set and nothing runs in this home.

    """
    found = settings.current()
    _hush(found)
    if found.database_url is None or found.broker_url is None:
        from worker.embedded import discovery

        found = discovery.resolve(found)
        settings.adopt(found)
    return found


def _hush(found: Settings) -> None:
    """A command speaks in sentences: what the tasks log is written to standard error at DEBUG only."""
    least = logging.DEBUG if found.log_level == "DEBUG" else logging.CRITICAL
    structlog.configure(
        processors=[structlog.processors.add_log_level, redact, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


@contextmanager
def transaction() -> Iterator[Connection]:
    """One transaction on a database that fits this release.

    Raises:
        NotUpgraded: `evergrant db upgrade` was not run yet.
        NewerDatabase: a newer release was here.

    """
    prepared()
    with database.transaction() as connection:
        migrations.require(connection)
        yield connection


@contextmanager
def reading() -> Iterator[Connection]:
    """A transaction that only reads and may be looked at for a while."""
    with transaction() as connection:
        connection.execute(text("set transaction read only"))
        connection.execute(text(f"set local idle_in_transaction_session_timeout = '{READER_IDLE}'"))
        yield connection
