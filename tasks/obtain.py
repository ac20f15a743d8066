"""Obtain: a grant without a user (RFC 6749 §4.4): the provider is asked at once, with the client's own credentials.

ask      one POST, whose slot of the client's rate was taken before
journal  the raw answer, before anybody parses it
store    by the same rule as any consent: tasks/settling/consent.py
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never
from uuid import UUID, uuid4

from sqlalchemy import Connection

from models import client as clients
from models import consent
from models.database import transaction
from tasks.connect_errors import CredentialsHeld, CredentialsRefused, CredentialsUnheard, StillRevoking
from tasks.journal import JournalBroken, Position
from tasks.oauth import messages
from tasks.oauth.answer import Answer, HeldBack, NotSent, Response
from tasks.oauth.shapes import Reach
from tasks.policy.kinds import of_kind
from tasks.policy.outcome import (
    GrantThrottled,
    NotNow,
    NotUnderstood,
    Outcome,
    Race,
    Refreshed,
    Refused,
    Unknown,
    fit_to_keep,
    outcome,
)
from tasks.policy.valve import USABLE_SHARE, Result
from tasks.runtime import clock, retry, valves
from tasks.runtime.journaling import entry_of, write_down
from tasks.runtime.registration import Registered
from tasks.runtime.runtime import Runtime
from tasks.settling import access_life
from tasks.settling.consent import Consent, ConsentError, StoredConsent, store
from tasks.settling.reading import sign_of

# A valve that is shut is no reason: whoever has just mended the credentials may try them.
HOLDS = frozenset({"database_unfit", "client_is_paused"})
PATIENCE = timedelta(minutes=1)  # how long a human waits for a database that is away; then a replay stores it


@dataclass(frozen=True, slots=True)
class Wish:
    """The grant that somebody wants; `grant_id` is chosen before anything is sent."""

    grant_id: UUID
    registered: Registered
    ref: str
    labels: dict[str, list[str]]
    started_at: datetime
    who: str


def obtain(runtime: Runtime, client_id: int, ref: str, *, labels: dict[str, list[str]], who: str) -> StoredConsent:
    """Ask for the token set of a grant without a user, and store the grant.

    Raises:
        ConnectError: see tasks/connect_errors.py; nothing was stored.
        ConsentError: see tasks/settling/consent.py; nothing was stored.
        JournalBroken: the answer could not be kept safe, so nothing was sent.
        OAuthError, VaultError: the registration cannot be used here.

    """
    with transaction() as connection:
        known = clients.known(connection, [client_id])[client_id]
    registered = runtime.registrations.ready(known)
    request = messages.client_credentials(registered.registration, labels=labels)
    if (reason := runtime.journal.check_writable()) is not None:
        raise JournalBroken(reason)
    wish = Wish(uuid4(), registered, ref, labels, _begin(runtime, registered, ref), who)
    sending = retry.send(runtime.transport, request, deadline=registered.times.deadline, guard=lambda: None)
    answer = runtime.transport.submit(sending).result()
    position = _write_down(runtime, wish, answer)
    stored = retry.while_database_away(
        lambda: _settled(runtime, wish, _read(wish, answer)), give_up=runtime.giving_up, patience=PATIENCE
    )
    if position is not None:
        runtime.journal.mark_settled([position])
    if isinstance(stored, StoredConsent):
        access_life.learn_of(runtime, registered, stored)
        return stored
    raise stored


def _begin(runtime: Runtime, registered: Registered, ref: str) -> datetime:
    """Take a slot of the client's rate; returns the database's time."""
    client_id, environment = registered.known.id, runtime.settings.environment
    with transaction() as connection:
        if registered.provider.revocation is Reach.GRANT:
            pending = consent.pending_revocations(connection, client_id, [ref])
            if pending:
                raise StillRevoking(pending[ref])
        at, held = clients.may_send(connection, client_id, environment=environment)
        if held in HOLDS:
            raise CredentialsHeld(held)
        clients.debit(connection, client_id, usable_share=USABLE_SHARE)
        return at


def _write_down(runtime: Runtime, wish: Wish, answer: Answer) -> Position | None:
    """Journal a body that may hold tokens; None: it holds none, or goes straight to the database."""
    if not isinstance(answer, Response) or not answer.may_hold_tokens:
        return None
    entry = entry_of(
        answer,
        wish.registered.known,
        kind="exchange",
        grant_id=wish.grant_id,
        ref=wish.ref,
        labels=wish.labels,
        generation=0,
        fingerprint=b"",
        started_at=wish.started_at,
        received_at=clock.wall(),
    )
    return write_down(runtime.journal, [entry])[0]


def _read(wish: Wish, answer: Answer) -> Outcome:
    provider, known = wish.registered.provider, wish.registered.known
    secret = wish.registered.registration.client_secret
    end = outcome(answer, provider=provider, proven=known.proven, wall_clock=clock.wall(), hide=(secret,))
    return of_kind(fit_to_keep(end, (secret,)), provider.kind)


def _settled(runtime: Runtime, wish: Wish, end: Outcome) -> StoredConsent | Exception:
    """Write what it came to; what went wrong is returned, for it is settled as well."""
    with transaction() as connection:
        _feed_valve(connection, wish, end)
        match end:
            case Refreshed(token_set=token_set):
                given = Consent(
                    wish.grant_id, wish.registered, wish.ref, wish.labels, token_set, started_at=wish.started_at
                )
                try:
                    return store(connection, given, vault=runtime.vault, who=wish.who)
                except ConsentError as error:
                    return error
            case Refused(code=code) | NotUnderstood(code=code):
                return CredentialsRefused(code)
            case (
                HeldBack(code=code)
                | NotSent(code=code)
                | NotNow(code=code)
                | GrantThrottled(code=code)
                | Race(code=code)
                | Unknown(code=code)
            ):
                return CredentialsUnheard(code)
            case _:
                assert_never(end)


def _feed_valve(connection: Connection, wish: Wish, end: Outcome) -> None:
    sign, known = sign_of(end), wish.registered.known
    if sign is not None:
        refreshed = isinstance(end, Refreshed)
        ended = Result(wish.grant_id, wish.started_at, sign, end.code, end.retry_after, refreshed)
        valves.feed(connection, {known.id: [ended]}, {known.id: known.credentials_no})
