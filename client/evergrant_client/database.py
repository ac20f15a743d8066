"""Evergrant over SQL: the view, the functions, and LISTEN."""

import json
from dataclasses import asdict
from typing import Any

import psycopg

from evergrant_client import clock
from evergrant_client.connections import Connections, T, Work
from evergrant_client.errors import (
    RETRY_LATER_SECONDS,
    AmbiguousGrant,
    GrantRevoked,
    NeedsConsent,
    NotConfigured,
    UnknownGrant,
)
from evergrant_client.labels import headers_of
from evergrant_client.listening import Listener
from evergrant_client.sealed import KeyRing, open_sealed
from evergrant_client.source import ConnectRequest, Reading, RevocationRequest, Wanted
from evergrant_client.statements import (
    CONNECT_URL,
    NO_PUBLIC_LISTENER,
    READ,
    READ_OWN,
    REQUEST_REFRESH,
    REQUEST_REVOCATION,
    for_psycopg,
    link_refused,
    translated,
)
from evergrant_client.token import Held, Token

Row = dict[str, Any]


class Database:
    """Reads the view and calls the functions, each in a transaction of its own."""

    def __init__(self, dsn: str, keys: KeyRing) -> None:
        self._dsn = dsn
        self._keys = keys
        self._reads_own = False  # whether it may read its own clients' grants alone; seen by the first read
        self._begin()

    def _begin(self) -> None:
        self._connections = Connections(self._dsn)
        self._listener = Listener(self._connections.connect)

    def read(self, wanted: Wanted, *, wait: float) -> Reading:
        """What the view shows; it never waits."""
        del wait
        at = clock.now()  # before the database's clock is read, so a token never seems to live longer than it does
        parameters = {"ref": wanted.ref, "client": wanted.client}
        row = _the_one(wanted, self._translating(lambda connection: self._rows(connection, parameters), wanted))
        _refuse_hopeless(wanted.ref, row)
        held = self._held(wanted, row, at)
        return Reading(
            generation=row["generation"],
            held=held,
            fresh=held is not None and held.lasts(wanted.min_ttl, at),
            waits_for=row["grant_id"],
            why_not="it is paused by an operator" if row["status"] == "paused" else "it is being refreshed",
            hopeless_for=RETRY_LATER_SECONDS if row["status"] == "paused" else None,
        )

    def ask(self, wanted: Wanted, generation: int, *, rejected: bool) -> int:
        """Ask for a refresh."""
        # To name a generation is to say that its access token was rejected, which is evidence against the grant.
        return self.request_refresh(wanted.ref, wanted.client, generation if rejected else None)

    def pause(self, reading: Reading, seconds: float) -> None:
        """Listen."""
        self._listener.wait(reading.waits_for, seconds)

    def request_refresh(self, ref: str, client: str | None, if_generation: int | None) -> int:
        """Call the function of this name."""
        parameters = {"ref": ref, "client": client, "if_generation": if_generation}
        return int(self._translating(lambda c: _value(c, REQUEST_REFRESH, parameters), Wanted(ref, client)))

    def request_revocation(self, request: RevocationRequest) -> int | None:
        """Call the function of this name."""
        made: int | None = self._translating(
            lambda connection: _value(connection, REQUEST_REVOCATION, asdict(request)),
            Wanted(request.ref, request.client),
            key=request.idempotency_key,
        )
        return made

    def connect_url(self, request: ConnectRequest) -> str:
        """Have a ticket made, and a link of it."""
        parameters = asdict(request) | {"labels": None if request.labels is None else json.dumps(request.labels)}

        def work(connection: "psycopg.Connection[Row]") -> str | None:
            try:
                made: str | None = _value(connection, CONNECT_URL, parameters)
            except psycopg.Error as error:
                told = link_refused(error)
                if told is None:
                    raise
                raise told from error
            return made

        made = self._translating(work, Wanted(request.ref, request.client))
        if made is None:
            raise NotConfigured(NO_PUBLIC_LISTENER)
        return made

    def after_fork(self) -> None:
        """Make connections of its own; those of the parent are left to it, sockets cannot be shared."""
        _INHERITED.append((self._connections, self._listener))
        self._begin()

    def close(self) -> None:
        """Close every connection; whoever uses it again opens new ones."""
        listener, connections = self._listener, self._connections
        self._begin()
        listener.close()
        connections.close()

    def _held(self, wanted: Wanted, row: Row, at: float) -> Held | None:
        if row["sealed_access_token"] is None or row["left"] is None:
            return None
        value = open_sealed(self._keys, row["sealed_access_token"], row_id=row["grant_id"])
        headers, undecided = headers_of(wanted.ref, row["labels"], wanted.chosen)
        token = Token(value, row["generation"], row["access_expires_at"], headers, undecided)
        return Held(token, ends_at=at + row["left"], life=row["life"], read_at=at)

    def _rows(self, connection: "psycopg.Connection[Row]", parameters: Row) -> list[Row]:
        """The rows of the view for all, or of the one that a role of its own may read."""
        if self._reads_own:
            return connection.execute(READ_OWN, parameters).fetchall()
        try:
            return connection.execute(READ, parameters).fetchall()
        except psycopg.errors.InsufficientPrivilege as refused:
            try:
                found = connection.execute(READ_OWN, parameters).fetchall()
            except psycopg.errors.Error:
                raise refused from None
            self._reads_own = True
            return found

    def _translating(self, work: Work[T], wanted: Wanted, *, key: str | None = None) -> T:
        try:
            return self._connections.run(work)
        except psycopg.Error as error:
            told = translated(error, wanted.ref, wanted.client, key=key)
            if told is None:
                raise
            raise told from error


# The parent's connections, kept from the garbage collector: to close one in the child would end the parent's session.
_INHERITED: list[object] = []


def _value(connection: "psycopg.Connection[Row]", statement: str, parameters: Row) -> Any:
    row = connection.execute(for_psycopg(statement), parameters).fetchone()
    return None if row is None else next(iter(row.values()))


def _the_one(wanted: Wanted, rows: list[Row]) -> Row:
    if not rows:
        raise UnknownGrant(wanted.ref, wanted.client)
    clients = sorted({row["client"] for row in rows})
    if len(clients) > 1:
        raise AmbiguousGrant(wanted.ref, clients)
    return rows[0]


def _refuse_hopeless(ref: str, row: Row) -> None:
    match row["status"]:
        case "needs_consent":
            raise NeedsConsent(ref, row["reason"])
        case "revoking" | "revoked":
            raise GrantRevoked(ref, row["status"])
