"""What a command needs before it can work: settings with the engines found, a checked database."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from settings import Settings

# A reader may look at a long list in a pager; the engine's own limit is meant for work, not for people.
READER_IDLE = "10min"
READ_ONLY = "25006"  # SQLSTATE: a write in a transaction that only reads


def prepared(kind: str | None = None) -> "Settings":
    """The settings of this process; where no database is set, those of the `evergrant up` of the same home.

    `kind`: see `worker/embedded/discovery.py`; what talks to people is the operator's.

    Raises:
        SettingsError: a variable cannot be used.
        EmbeddedError: no URL is set and nothing runs in this home.

    """
    import settings

    found = settings.current()
    # It brings rich and asyncio, a tenth of a command's start: whoever uses tasks that log imports them before.
    if "structlog" in sys.modules:
        _hush(found)
    if found.database_url is None or found.broker_url is None:
        from worker.embedded import discovery

        found = discovery.resolve(found, kind=kind)
        settings.adopt(found)
    return found


def _hush(found: "Settings") -> None:
    """A command speaks in sentences: what the tasks log is written to standard error at DEBUG only."""
    import logging

    import structlog

    from worker.logs import redact

    least = logging.DEBUG if found.log_level == "DEBUG" else logging.CRITICAL
    structlog.configure(
        processors=[structlog.processors.add_log_level, redact, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


@contextmanager
def transaction(*, anywhere: bool = False, newer: bool = False) -> "Iterator[Connection]":
    """One transaction on a database that fits this release and is of our environment, unless `anywhere`.

    For a command that says that it only looks, it is read only. `newer`: also where a newer release was.

    Raises:
        NotUpgraded: `evergrant db upgrade` was not run yet.
        NewerDatabase: a newer release was here.
        ForeignEnvironment: EVERGRANT_ENVIRONMENT names another one than this database was adopted for.

    """
    from sqlalchemy import text
    from sqlalchemy.exc import InternalError

    from models import database, installation, migrations

    settings = prepared()
    with database.transaction() as connection:
        (migrations.newer if newer else migrations.require)(connection)
        if not anywhere and settings.environment is not None:
            installation.require_environment(connection, settings.environment)
        if not _only_looks():
            yield connection
            return
        connection.execute(text("set transaction read only"))
        try:
            yield connection
        except InternalError as error:
            if getattr(error.orig, "sqlstate", None) != READ_ONLY:
                raise
            message = "A command that says that it only looks has written"  # so it is not the database's doing
            raise RuntimeError(message) from error


def _only_looks() -> bool:
    """Whether the command says that it changes nothing: what it changed would be in no audit."""
    context = click.get_current_context(silent=True)
    return context is not None and not getattr(context.command, "changes", True)


def require_own_database() -> None:
    """See that what is about to change is ours to change; raises what `transaction` raises."""
    with transaction():
        pass


@contextmanager
def reading() -> "Iterator[Connection]":
    """A transaction that only reads and may be looked at for a while."""
    from sqlalchemy import text

    with transaction(anywhere=True) as connection:
        if not _only_looks():
            connection.execute(text("set transaction read only"))
        connection.execute(text(f"set local idle_in_transaction_session_timeout = '{READER_IDLE}'"))
        yield connection
