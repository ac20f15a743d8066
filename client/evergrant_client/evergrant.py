"""`Evergrant`: fresh access tokens, and requests, for one application."""

import math
import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from time import sleep
from typing import Any

from evergrant_client import clock
from evergrant_client.configuration import OverSQL, configuration
from evergrant_client.errors import (
    RETRY_LATER_SECONDS,
    GrantRevoked,
    NeedsConsent,
    NotFreshYet,
    UnknownGrant,
    Unreachable,
)
from evergrant_client.flights import Flights
from evergrant_client.memory import Memory
from evergrant_client.source import ConnectRequest, Reading, RevocationRequest, Source, Wanted
from evergrant_client.statements import REQUEST_REFRESH, REQUEST_REVOCATION, call_in
from evergrant_client.token import Token

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 1.0  # polling is always on, whether or not there is news


class Evergrant:
    """Reads tokens and takes requests; one for the whole process is enough, and any thread may use it.

    It may be made before a fork. Nothing is connected to before the first use.
    """

    def __init__(
        self,
        *,
        dsn: str | None = None,
        access_keys: str | None = None,
        token_url: str | None = None,
        application_key: str | None = None,
    ) -> None:
        """Use the database (`dsn` and `access_keys`) or the token interface (`token_url` and `application_key`).

        What is not given is read from EVERGRANT_CLIENT_DSN and EVERGRANT_ACCESS_TOKEN_KEYS (or …_FILE), or from
        EVERGRANT_TOKEN_URL and EVERGRANT_APPLICATION_KEY (or …_FILE).

        Raises:
            NotConfigured: something is missing or cannot be used; the message says what.

        """
        found = configuration(dsn=dsn, access_keys=access_keys, token_url=token_url, application_key=application_key)
        self._begin(_source(found))

    def _begin(self, source: Source) -> None:
        self._source = source
        self._memory = Memory()
        self._flights = Flights()
        _ALIVE.add(self)

    def access_token(
        self,
        ref: str,
        *,
        client: str | None = None,
        org: str | None = None,
        min_ttl: float = 60.0,
        timeout: float = 30.0,
        rejected: Token | None = None,
    ) -> Token:
        """A token that lives at least `min_ttl` seconds (or a third of its life), refreshed and waited for if need be.

        `rejected` is one that the API answered 401: it is reported, and a newer one is waited for, never handed out
        from memory. `org` chooses among the organizations of the grant. `timeout` is in seconds; 0: never wait.

        Raises:
            UnknownGrant, AmbiguousGrant: which grant is meant?
            NeedsConsent, GrantRevoked: there will be no token.
            NotFreshYet: none came in time; Unreachable, one of them: Evergrant does not answer.
            LabelNotChosen: the grant has no such `org`.

        """
        with self._offering(ref, client):
            return self._access_token(ref, client, org, min_ttl=min_ttl, timeout=timeout, rejected=rejected)

    def _access_token(
        self, ref: str, client: str | None, org: str | None, *, min_ttl: float, timeout: float, rejected: Token | None
    ) -> Token:
        asked_at = clock.now()
        wanted = Wanted(ref, client, min_ttl, {} if org is None else {"org": org})
        if rejected is None:
            remembered = self._remembered(wanted, asked_at)
            if remembered is not None:
                return remembered
        with self._flights.alone((ref, client), timeout) as mine:
            # Whoever had the turn before may have fetched what is wanted; after a 401 only what was read since counts.
            remembered = self._remembered(wanted, asked_at, rejected)
            if remembered is not None:
                return remembered
            if not mine:
                raise _too_late(ref, timeout)
            try:
                return self._obtain(wanted, asked_at + timeout, rejected, timeout)
            except (UnknownGrant, NeedsConsent, GrantRevoked):
                self._memory.forget(ref)
                raise

    def report_rejected(self, ref: str, token: Token, *, client: str | None = None) -> None:
        """Tell that the API answered 401 to a token, without waiting for another.

        Raises:
            EvergrantError: as `request_refresh`.

        """
        self._memory.forget(ref, token.generation)
        with self._offering(ref, client):
            self._source.ask(Wanted(ref, client), token.generation, rejected=True)

    def request_refresh(
        self,
        ref: str,
        *,
        client: str | None = None,
        if_generation: int | None = None,
        connection: object | None = None,
    ) -> int:
        """Ask for an early refresh; returns the generation to wait for.

        `if_generation` says that the API answered 401 to the token of this generation: only while that is still the
        present one is there a refresh. With `connection`, of psycopg or SQLAlchemy, it takes part in that transaction.

        Raises:
            UnknownGrant, AmbiguousGrant: which grant is meant?

        """
        if connection is None:
            with self._offering(ref, client):
                return self._source.request_refresh(ref, client, if_generation)
        arguments = {"ref": ref, "client": client, "if_generation": if_generation}
        return int(self._call_in(connection, REQUEST_REFRESH, arguments))

    def request_revocation(
        self,
        ref: str,
        *,
        client: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
        missing_ok: bool = False,
        erase: bool = False,
        connection: object | None = None,
    ) -> int | None:
        """Ask for the grant to be killed at the provider; returns the revocation's id, None where there is no grant.

        With `connection`, of psycopg or SQLAlchemy, it takes part in that transaction and is rolled back with it.

        Raises:
            UnknownGrant: there is no such grant, unless `missing_ok`.
            AmbiguousGrant: several clients have one.
            IdempotencyKeyTaken: the key belongs to the revocation of another ref.

        """
        request = RevocationRequest(ref, client, reason, idempotency_key, missing_ok, erase)
        if connection is None:
            made = self._source.request_revocation(request)
        else:
            made = self._call_in(connection, REQUEST_REVOCATION, asdict(request))
        self._memory.forget(ref)
        return made

    def connect_url(
        self,
        ref: str,
        *,
        client: str | None = None,
        return_to: str | None = None,
        labels: Mapping[str, str | Sequence[str]] | None = None,
        scopes: Sequence[str] | None = None,
        locale: str | None = None,
    ) -> str:
        """A link by which this customer connects, or connects again, in a browser; good once and for 15 minutes.

        Whoever opens it connects their account as `ref`: make it when that customer asks, and show it to nobody else.
        `return_to` is where they go afterwards, an address that the client allows; `scopes` stand in for the client's.

        Raises:
            LinkRefused: nobody may be sent to `return_to`, there is no such client, or too many were made.
            AmbiguousGrant: several clients have the ref, or could: pass `client`.
            NotAllowed, NotConfigured: this application may not, or there is no public listener.

        """
        held = None if labels is None else {k: [v] if isinstance(v, str) else list(v) for k, v in labels.items()}
        return self._source.connect_url(ConnectRequest(ref, client, return_to, held, scopes, locale))

    def close(self) -> None:
        """Let every connection go; it may be used again."""
        self._source.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self._source).__name__})"

    @contextmanager
    def _offering(self, ref: str, client: str | None) -> Iterator[None]:
        """Let whoever is told that consent is needed have a link made, if they want one."""
        try:
            yield
        except NeedsConsent as error:
            error.made_by(lambda: self.connect_url(ref, client=client))
            raise

    def _call_in(self, connection: object, statement: str, arguments: dict[str, Any]) -> Any:
        return call_in(connection, statement, arguments)

    def _remembered(self, wanted: Wanted, asked_at: float, rejected: Token | None = None) -> Token | None:
        held = self._memory.find(_key(wanted))
        if held is None or not held.lasts(wanted.min_ttl, clock.now()):
            return None
        if rejected is not None and (held.read_at < asked_at or held.token.generation <= rejected.generation):
            return None
        return held.token

    def _obtain(self, wanted: Wanted, deadline: float, rejected: Token | None, timeout: float) -> Token:
        asked, pause = False, FIRST_PAUSE
        if rejected is not None:
            self._memory.forget(wanted.ref, rejected.generation)
        while True:
            left = max(deadline - clock.now(), 0.0)
            try:
                reading = self._source.read(wanted, wait=left if rejected is None else 0.0)
            except Unreachable:
                # What was asked for goes on; a database that restarts meanwhile is waited for.
                if not asked or not left:
                    raise
                sleep(min(pause, left))
                continue
            found = self._if_good(wanted, reading, rejected)
            if found is not None:
                return found
            asked = asked or self._ask(wanted, reading, rejected)
            if not left:
                raise _too_late(wanted.ref, timeout, reading.explanation)
            self._source.pause(reading, min(pause, left))
            pause = min(pause * 1.5, LONGEST_PAUSE)

    def _if_good(self, wanted: Wanted, reading: Reading, rejected: Token | None) -> Token | None:
        newer = rejected is None or reading.generation > rejected.generation
        if reading.held is None or not reading.fresh or not newer:
            return None
        self._memory.keep(_key(wanted), reading.held)
        return reading.held.token

    def _ask(self, wanted: Wanted, reading: Reading, rejected: Token | None) -> bool:
        """Ask for a newer token set; whether one will come."""
        if reading.hopeless_for is not None:
            message = f"The token of {wanted.ref!r} is too old, and {reading.why_not}"
            raise NotFreshYet(message, reading.hopeless_for, reading.explanation)
        seen = reading.generation if rejected is None else max(reading.generation, rejected.generation)
        awaited = self._source.ask(wanted, seen, rejected=rejected is not None)
        if rejected is not None and awaited <= rejected.generation:
            message = f"The token of {wanted.ref!r} was refreshed a moment ago, and the API refuses it all the same"
            raise NotFreshYet(message, RETRY_LATER_SECONDS)
        return awaited > seen

    def _after_fork(self) -> None:
        """Other threads of the parent may hold a lock here for ever."""
        self._flights = Flights()
        self._memory.after_fork()
        self._source.after_fork()


# Every one of this process, for the child of a fork.
_ALIVE: "weakref.WeakSet[Evergrant]" = weakref.WeakSet()


def _after_fork() -> None:
    for each in list(_ALIVE):
        each._after_fork()  # noqa: SLF001  # our own


os.register_at_fork(after_in_child=_after_fork)


def _source(found: Any) -> Source:
    # Each backend is imported only where it is used.
    if isinstance(found, OverSQL):
        from evergrant_client.database import Database

        return Database(found.dsn, found.keys)
    from evergrant_client.token_interface import TokenInterface

    return TokenInterface(found.url, found.key)


def _key(wanted: Wanted) -> tuple[str, str | None, str | None]:
    return wanted.ref, wanted.client, wanted.chosen.get("org")


def _too_late(ref: str, timeout: float, explanation: str | None = None) -> NotFreshYet:
    within = f" within {math.ceil(timeout)} s" if timeout else ""
    why = f" ({explanation.rstrip('.')})" if explanation else ""
    return NotFreshYet(f"No fresh token of {ref!r} came{within}{why}", explanation=explanation)
