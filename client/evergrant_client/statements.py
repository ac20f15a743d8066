"""The SQL surface as statements, for psycopg and for SQLAlchemy, and what its errors mean."""

import re
from collections.abc import Mapping
from typing import Any

from evergrant_client.errors import (
    RETRY_LATER_SECONDS,
    AmbiguousGrant,
    EvergrantError,
    IdempotencyKeyTaken,
    LinkRefused,
    NotAllowed,
    NotConfigured,
    UnknownGrant,
    Unreachable,
)

# Casts, since a driver may send null without a type.
READ = """
select t.grant_id::text as grant_id, t.client, t.labels, t.generation, t.access_expires_at, t.status, t.reason,
    t.sealed_access_token, extract(epoch from t.access_expires_at - clock_timestamp())::float8 as left,
    extract(epoch from t.life)::float8 as life
from evergrant.access_tokens t
where t.ref = %(ref)s and (%(client)s::text is null or t.client = %(client)s::text)
order by t.status in ('revoking', 'revoked'), t.generation desc
"""
# For a login with a role of its own, which sees the grants of some clients alone.
READ_OWN = READ.replace("evergrant.access_tokens", "evergrant.own_access_tokens")
REQUEST_REFRESH = """
select evergrant.request_refresh(ref => cast(:ref as text), client => cast(:client as text),
    if_generation => cast(:if_generation as bigint))
"""
REQUEST_REVOCATION = """
select evergrant.request_revocation(ref => cast(:ref as text), client => cast(:client as text),
    reason => cast(:reason as text), idempotency_key => cast(:idempotency_key as text),
    missing_ok => cast(:missing_ok as boolean), erase => cast(:erase as boolean))
"""

# No ticket is made where its link would lead nowhere.
CONNECT_URL = """
select case when evergrant.connect_url('') is not null then evergrant.connect_url(evergrant.request_connect(
    ref => cast(:ref as text), client => cast(:client as text), return_to => cast(:return_to as text),
    labels => cast(:labels as jsonb), scopes => cast(:scopes as text[]), locale => cast(:locale as text))) end
"""
NO_PUBLIC_LISTENER = (
    "No web of Evergrant serves a public listener, so a link would lead nowhere: have an operator start "
    "`evergrant web` with EVERGRANT_PUBLIC_BIND and EVERGRANT_PUBLIC_URL."
)

# What makes no ticket: an unknown client, what cannot be used, what is too long, and limits.
REFUSES_LINK = {"P0002", "22023", "22001", "22P02", "22P05"}
TOO_MANY_TICKETS = "54000"
BEHIND = {"42P01", "3F000", "42703", "42883"}  # no such table, schema, column, function


def for_psycopg(statement: str) -> str:
    """A statement with `:name` as psycopg wants it."""
    return re.sub(r"(?<!:):(\w+)", r"%(\1)s", statement)


def call_in(connection: object, statement: str, parameters: Mapping[str, Any]) -> Any:
    """Carry out one statement in the transaction of somebody else's connection; returns its one value.

    Raises:
        NotConfigured: it is no connection of psycopg or SQLAlchemy.
        EvergrantError: what the functions refuse; as with every SQL error the transaction is then aborted.

    """
    ref, client = parameters["ref"], parameters["client"]
    try:
        if _is_of("sqlalchemy", connection) and hasattr(connection, "execute"):
            return _in_sqlalchemy(connection, statement, parameters)
        if _is_of("psycopg", connection) and hasattr(connection, "cursor"):
            return _in_psycopg(connection, statement, parameters)
    except Exception as error:
        told = translated(error, ref, client, key=parameters.get("idempotency_key"))
        if told is None:
            raise
        raise told from error
    message = (
        f"connection= is a {type(connection).__module__}.{type(connection).__qualname__}: pass a Connection of "
        "psycopg, or a Connection or Session of SQLAlchemy, none asynchronous; else call the SQL function yourself."
    )
    raise NotConfigured(message)


def _is_of(package: str, connection: object) -> bool:
    """Whether it is a synchronous connection of a package, subclasses included; an async one is named so."""
    kinds = type(connection).__mro__
    names = {kind.__module__.partition(".")[0] for kind in kinds}
    return package in names and not any("async" in f"{kind.__module__}.{kind.__qualname__}".lower() for kind in kinds)


def _in_sqlalchemy(connection: Any, statement: str, parameters: Mapping[str, Any]) -> Any:
    from sqlalchemy import text

    return connection.execute(text(statement), dict(parameters)).scalar()


def _in_psycopg(connection: Any, statement: str, parameters: Mapping[str, Any]) -> Any:
    from psycopg.rows import tuple_row

    with connection.cursor(row_factory=tuple_row) as cursor:
        cursor.execute(for_psycopg(statement), parameters)
        return cursor.fetchone()[0]


def translated(error: BaseException, ref: str, client: str | None, *, key: str | None = None) -> EvergrantError | None:
    """What a database's error means to an application; None for one that is not about Evergrant."""
    cause = getattr(error, "orig", None) or error
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    told: EvergrantError | None = None
    if state == "P0002":
        told = UnknownGrant(ref, client)
    elif state == "P0003":
        told = AmbiguousGrant(ref)
    elif state == "22023":
        told = IdempotencyKeyTaken(ref, key)
    elif state == "42501":
        told = NotAllowed(
            f"The database refused this login ({first_line(cause)}): have the owner grant it evergrant_reader to read "
            "tokens, evergrant_requester to ask for refreshes, revocations and links, or a role of its own."
        )
    elif state in BEHIND:
        told = NotConfigured(
            f"There is no Evergrant of this release in that database ({first_line(cause)}): see that the connection "
            "leads to its database, and that `evergrant db upgrade` was run."
        )
    elif state == "25006":
        told = Unreachable("The database is a standby and takes no requests")
    return told


def link_refused(error: Any) -> LinkRefused | None:
    """What `request_connect` does not take, in its own words; None for any other error."""
    if error.sqlstate not in (*REFUSES_LINK, TOO_MANY_TICKETS):
        return None
    message, hint = error.diag.message_primary or "", error.diag.message_hint
    said = message[:1].upper() + message[1:]
    is_for_now = error.sqlstate == TOO_MANY_TICKETS
    return LinkRefused(
        f"{said}: {hint[:1].lower() + hint[1:]}" if hint else f"{said}.", RETRY_LATER_SECONDS if is_for_now else None
    )


def first_line(error: object) -> str:
    """What an error says, without what PostgreSQL adds to it."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
