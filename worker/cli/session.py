"""What a command needs before it can work: settings with the engines found, a checked database, the keys."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import structlog
from sqlalchemy import Connection, text

import settings
from models import database, key_use, migrations
from models.vault import KeysError, Vault
from settings import Settings
from worker.cli.failures import Failure
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


def vault() -> Vault:
    """The key rings of this process.

    Raises:
        KeysError: a ring cannot be used.

    """
    return Vault.from_settings(prepared())


def missing_keys(connection: Connection, grant_id: UUID | None = None) -> list[tuple[str, str]]:
    """What the rings of this machine cannot open, of one grant or of all that there is, each with its remedy."""
    try:
        rings = vault()
        found = (
            key_use.missing(connection, rings) if grant_id is None else key_use.missing_for(connection, rings, grant_id)
        )
        return [(each.what, each.remedy) for each in found]
    except KeysError as error:
        return [(str(error), "mend that key ring")]


def keys_needed(vault: Vault, *rings: str) -> Vault:
    """Return the vault where it holds every ring named.

    Raises:
        Failure: a ring is absent.

    """
    for ring in rings:
        if getattr(vault, ring) is None:
            variable = f"EVERGRANT_{ring.upper()}_TOKEN_KEYS"
            raise Failure(
                code="keys",
                message=f"This command needs the {ring} key ring",
                next_step=f"set {variable}_FILE, or make one with `evergrant keys generate --ring {ring}`",
            )
    return vault
