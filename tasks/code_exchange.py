"""The exchange of a code, once, in steps between which nobody need wait in a thread (tasks/runtime/exchanges.py).

take      the callback's state must be one made for this ref; its one use is committed before the code is sent
ask       one request, on the loop thread
keep      its answer is journaled before anybody parses it
settle    it is read, and becomes a row: tasks/settling/consent.py
"""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog

from models import connect_request
from models.connect_request import Begun
from models.database import transaction
from models.ticket import hashed
from tasks.code_use import Taken, asks_for_account, request, take
from tasks.connect import Callback, registered_of
from tasks.connect_errors import CredentialsReplaced, StateForAnother, StateUnknown
from tasks.exchange_end import Journaled, settle, understood
from tasks.journal import Entry
from tasks.oauth import accounts, messages
from tasks.oauth.accounts import Account
from tasks.oauth.answer import Answer, Response
from tasks.policy.outcome import Refreshed
from tasks.runtime import clock, retry
from tasks.runtime.journaling import entry_of, write_down
from tasks.runtime.runtime import Runtime
from tasks.settling import access_life
from tasks.settling.consent import StoredConsent

log = structlog.get_logger()

PATIENCE = timedelta(minutes=1)
LOOK = timedelta(seconds=5)  # at whose account it is: a customer waits


class Answered(NamedTuple):
    """An answer to an exchange, as it came."""

    answer: Answer
    received_at: datetime


def finish(
    runtime: Runtime, callback: Callback, *, client_id: int, ref: str, who: str, patience: timedelta = PATIENCE
) -> StoredConsent:
    """Exchange the code of a callback and store the grant, all steps; the caller's thread waits.

    `patience`: how long a human waits for a database that is away; then whoever drains the journal stores it.

    Raises:
        ConnectError: see tasks/connect_errors.py; nothing was stored.
        ConsentError: see tasks/settling/consent.py; nothing was stored.
        AddressError: the labels make no address; nothing was sent, and the callback is as good as before.
        JournalBroken: the answer could not be kept safe, so nothing was sent.

    """
    with transaction() as connection:
        begun = connect_request.find(connection, hashed(callback.state))
    if begun is None or begun.client_id != client_id:
        raise StateUnknown
    if begun.ref != ref:
        raise StateForAnother(begun.ref)
    try:
        return _finished(runtime, callback, begun, who=who, patience=patience)
    except CredentialsReplaced:  # once more, with those that are in force
        return _finished(runtime, callback, replace(begun, used=False), who=who, patience=patience)


def _finished(runtime: Runtime, callback: Callback, begun: Begun, *, who: str, patience: timedelta) -> StoredConsent:
    registered = registered_of(runtime.registrations, begun.client_id)
    taken = take(runtime, registered, begun, callback)
    journaled = keep(runtime, taken, ask(runtime, taken).result())
    looking = look(runtime, taken, journaled)
    account = None if looking is None else account_of(taken, looking)
    stored = settle(runtime, taken, journaled, account=account, who=who, patience=patience)
    access_life.learn_of(runtime, registered, stored)
    return stored


def ask(runtime: Runtime, taken: Taken) -> Future[Answered]:
    """Send the code, once."""
    wanted = request(taken.registered, taken.begun, taken.callback.code or "", taken.verifier)

    async def answered() -> Answered:
        deadline = taken.registered.times.deadline
        answer = await retry.send(runtime.transport, wanted, deadline=deadline, guard=lambda: None)
        return Answered(answer, clock.wall())

    return runtime.transport.submit(answered())


def keep(runtime: Runtime, taken: Taken, answered: Answered) -> Journaled:
    """Journal an answer that may hold tokens, before anybody parses it."""
    return keep_all(runtime, [(taken, answered)])[0]


def keep_all(runtime: Runtime, group: Sequence[tuple[Taken, Answered]]) -> list[Journaled]:
    """Journal those of these answers that may hold tokens, together."""
    entries = [_entry(taken, answered) for taken, answered in group]
    positions = iter(write_down(runtime.journal, [each for each in entries if each is not None]))
    return [
        Journaled(*answered, None if entry is None else next(positions))
        for (_, answered), entry in zip(group, entries, strict=True)
    ]


def _entry(taken: Taken, answered: Answered) -> Entry | None:
    answer, received_at = answered
    if not isinstance(answer, Response) or not answer.may_hold_tokens:
        return None
    return entry_of(
        answer,
        taken.registered.known,
        kind="exchange",
        grant_id=taken.begun.grant_id,
        ref=taken.begun.ref,
        labels=taken.begun.labels,
        generation=0,
        fingerprint=b"",
        started_at=taken.started_at,
        received_at=received_at,
    )


def look(runtime: Runtime, taken: Taken, journaled: Journaled) -> Future[Answer] | None:
    """Ask whose account it is, by one introspection, where nothing else tells a ticket; None: nothing is asked."""
    if not asks_for_account(taken.registered.provider, taken.begun):
        return None
    end, given = understood(taken, journaled)
    if not isinstance(end, Refreshed):
        return None
    registration, token = taken.registered.registration, end.token_set.access_token
    try:
        labels = given.over(taken.begun.labels)
        request = messages.introspect(registration, token=token, labels=labels, hint="access_token")
        sending = runtime.transport.send(request, deadline=min(taken.registered.times.deadline, LOOK))
        return runtime.transport.submit(sending)
    except Exception as error:  # noqa: BLE001  # the token set is here: nothing keeps it from its row
        _tell_of_account(taken, "connect.account_not_asked", error=type(error).__name__)
        return None


def account_of(taken: Taken, looking: Future[Answer]) -> Account | None:
    """Whose account it is, as far as it was told; what went wrong keeps no token set from its row."""
    try:
        found = accounts.from_introspection(looking.result())
    except Exception as error:  # noqa: BLE001
        _tell_of_account(taken, "connect.account_not_asked", error=type(error).__name__)
        return None
    if found is None:
        _tell_of_account(taken, "connect.account_untold")
    return found


def _tell_of_account(taken: Taken, what: str, **more: str) -> None:
    log.warning(what, client=taken.registered.known.name, ref=taken.begun.ref, **more)
