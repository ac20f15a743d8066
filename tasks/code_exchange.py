"""The exchange of a code, once, in steps between which nobody need wait in a thread (tasks/runtime/exchanges.py).

take      the callback's state must be one made for this ref; its one use is committed before the code is sent
ask       one request, on the loop thread
keep      its answer is journaled before anybody parses it
settle    it is read, and becomes a row: tasks/settling/consent.py
"""

from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple, assert_never

import structlog
from sqlalchemy import Connection

from models import client as clients
from models import connect_request, installation, operator_actions, visit
from models.connect_request import Begun
from models.database import transaction
from models.states.installation import DatabaseState
from models.ticket import hashed
from tasks.connect import (
    BY_WEB,
    Callback,
    expect_issuer,
    kept_after_exchange,
    refuse_while_revoking,
    registered_of,
    with_redirect,
)
from tasks.connect_errors import (
    ClientPaused,
    CodeRefused,
    CredentialsReplaced,
    DatabaseUnfit,
    Denied,
    ExchangeNotSent,
    ExchangeRefused,
    ExchangeUnclear,
    RedirectUnfit,
    ScopeRefused,
    StateForAnother,
    StateUnknown,
    StateUsed,
    UserRefused,
)
from tasks.journal import JournalBroken, Position
from tasks.oauth import accounts, addresses, kept, messages
from tasks.oauth.accounts import Account
from tasks.oauth.answer import Answer, HeldBack, NotSent, Response
from tasks.oauth.error_answers import told_sentence, told_word
from tasks.oauth.errors import LabelMissing
from tasks.oauth.kept import Kept
from tasks.oauth.messages import Request
from tasks.oauth.provider import Provider
from tasks.oauth.rules import Asked, Means
from tasks.oauth.token_answer import tokens_of
from tasks.policy.advice import UNPROVEN
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
from tasks.policy.valve import USABLE_SHARE, Result, Sign
from tasks.runtime import clock, retry, valves
from tasks.runtime.journaling import entry_of, write_down
from tasks.runtime.registration import Registered
from tasks.runtime.runtime import Runtime
from tasks.settling import access_life, credentials
from tasks.settling.consent import AnotherAccount, Consent, ConsentError, StoredConsent, dispose, store
from tasks.settling.reading import sign_of
from tasks.visit_ends import write_end

log = structlog.get_logger()

PATIENCE = timedelta(minutes=1)
LOOK = timedelta(seconds=5)  # at whose account it is: a customer waits
REFUSED_CODES = frozenset({"invalid_grant", "invalid_grant_unproven"})
ABOUT_THE_CODE = frozenset({Means.DEAD, Means.CONSENT, Means.SCOPE})  # or about its user: not about the client


@dataclass(frozen=True, slots=True)
class Taken:
    """A code whose one use is committed, and what is sent with it; its flow has the labels of its redirect."""

    registered: Registered
    begun: Begun
    callback: Callback = field(repr=False)
    verifier: str = field(repr=False)
    started_at: datetime

    @property
    def secrets(self) -> tuple[str, ...]:
        """Those of the flow and of the client, which nothing that is told repeats."""
        secret = self.registered.registration.client_secret
        return tuple(filter(None, (self.callback.code, self.verifier, self.callback.state, secret)))


class Answered(NamedTuple):
    """An answer to an exchange, as it came."""

    answer: Answer
    received_at: datetime


class Journaled(NamedTuple):
    """The same once it is kept; `position` is None where it holds no tokens, or the journal is broken."""

    answer: Answer
    received_at: datetime
    position: Position | None


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


def take(runtime: Runtime, registered: Registered, begun: Begun, callback: Callback) -> Taken:
    """Commit the one use of this flow, and a slot of the client's rate; raises as `finish`."""
    if begun.used:
        raise StateUsed
    if begun.expired:
        raise StateUnknown
    expect_issuer(callback, registered.provider)
    if (reason := runtime.journal.check_writable()) is not None:
        raise JournalBroken(reason)
    verifier = ""
    if callback.code is not None:
        begun = replace(begun, labels=_labels(registered.provider, begun, callback))
        verifier = _verifier(runtime, begun)
        _request(registered, begun, callback.code, verifier)  # what cannot be written may be tried again
    taken = Taken(registered, begun, callback, verifier, _use(runtime, registered, begun))
    if callback.code is None:
        raise Denied(told_word(callback.error, taken.secrets), told_sentence(callback.description, taken.secrets))
    return taken


def _use(runtime: Runtime, registered: Registered, begun: Begun) -> datetime:
    environment = runtime.settings.environment
    with transaction() as connection:
        refuse_while_revoking(connection, registered.provider, begun.client_id, begun.ref)
        if operator_actions.is_paused(connection, begun.client_id):
            raise ClientPaused
        if (state := installation.state(connection, environment)) != DatabaseState.FIT:
            raise DatabaseUnfit(state)
        started_at = connect_request.use(connection, begun.grant_id)
        if started_at is None:
            raise StateUsed
        if begun.by_ticket:
            visit.take(connection, begun.grant_id, runtime.journal_id)
        for _ in range(1 + asks_for_account(registered.provider, begun)):
            clients.debit(connection, begun.client_id, usable_share=USABLE_SHARE)
        return started_at


def ask(runtime: Runtime, taken: Taken) -> Future[Answered]:
    """Send the code, once."""
    request = _request(taken.registered, taken.begun, taken.callback.code or "", taken.verifier)

    async def answered() -> Answered:
        deadline = taken.registered.times.deadline
        answer = await retry.send(runtime.transport, request, deadline=deadline, guard=lambda: None)
        return Answered(answer, clock.wall())

    return runtime.transport.submit(answered())


def keep(runtime: Runtime, taken: Taken, answered: Answered) -> Journaled:
    """Journal an answer that may hold tokens, before anybody parses it."""
    answer, received_at = answered
    if not isinstance(answer, Response) or not answer.may_hold_tokens:
        return Journaled(answer, received_at, None)
    entry = entry_of(
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
    return Journaled(answer, received_at, write_down(runtime.journal, [entry])[0])


def look(runtime: Runtime, taken: Taken, journaled: Journaled) -> Future[Answer] | None:
    """Ask whose account it is, by one introspection, where nothing else tells a ticket; None: nothing is asked."""
    if not asks_for_account(taken.registered.provider, taken.begun):
        return None
    end, given = _understood(taken, journaled)
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


def asks_for_account(provider: Provider, begun: Begun) -> bool:
    """Whether only an introspection tells whose account it is, and somebody wants to know."""
    return begun.by_ticket and provider.account_at is None and provider.introspect_url is not None


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


def settle(
    runtime: Runtime,
    taken: Taken,
    journaled: Journaled,
    *,
    account: Account | None,
    who: str,
    patience: timedelta,
    waits_for_locks: bool = True,
) -> StoredConsent:
    """Read an answer, and write what the exchange came to; raises as `finish`.

    `account`: as an introspection told it. Where it does not wait for a stranger's lock, that is raised.
    """
    end, given = _understood(taken, journaled)
    body = journaled.answer.body if isinstance(journaled.answer, Response) else b""
    told = account or accounts.from_answer(taken.registered.provider, body, taken.callback.parameters)
    consented = _consent(taken, end, given=given, account=told)
    stored = retry.while_database_away(
        partial(_write, runtime, taken, end, given=consented, who=who),
        give_up=runtime.giving_up,
        patience=patience,
        unless=(lambda _: False) if waits_for_locks else retry.is_locked,
    )
    if journaled.position is not None:
        runtime.journal.mark_settled([journaled.position])
    if isinstance(stored, StoredConsent):
        return stored
    raise stored


def _understood(taken: Taken, journaled: Journaled) -> tuple[Outcome, Kept]:
    """What an answer means, and the values that it gives to be kept."""
    provider, sent = taken.registered.provider, taken.secrets
    end = of_kind(fit_to_keep(_read(taken, journaled), sent), provider.kind)
    body = journaled.answer.body if isinstance(journaled.answer, Response) else b""
    given = kept.from_answer(provider, body, taken.begun.labels)
    return end, given.without(sent, tokens=tokens_of(end.token_set) if isinstance(end, Refreshed) else ())


def _read(taken: Taken, journaled: Journaled) -> Outcome:
    return outcome(
        journaled.answer,
        provider=taken.registered.provider,
        proven=taken.registered.known.proven,
        wall_clock=journaled.received_at,
        hide=taken.secrets,
        to=Asked.CODE,
    )


def _labels(provider: Provider, begun: Begun, callback: Callback) -> dict[str, list[str]]:
    """The labels of a flow with those that came with its redirect.

    Raises:
        RedirectUnfit: what came cannot be one.
        AddressError: an address needs what neither was given nor came.

    """
    given = kept.from_redirect(provider, callback.parameters, begun.labels)
    given = given.without((callback.state, callback.code or ""))
    for label, why in given.refused.items():
        raise RedirectUnfit(label, why)
    labels = given.over(begun.labels)
    try:
        addresses.check(provider, labels, later=kept_after_exchange(provider))
    except LabelMissing as error:
        if error.label in provider.keep_from_redirect:
            error.next = "the redirect did not carry it: see keep_from_redirect in the provider file, then begin again"
        raise
    return labels


def _verifier(runtime: Runtime, begun: Begun) -> str:
    purpose = BY_WEB if begun.by_ticket else "verifier"
    return runtime.vault.open(begun.sealed_verifier, table="connect_requests", row_id=begun.grant_id, purpose=purpose)


def _request(registered: Registered, begun: Begun, code: str, verifier: str) -> Request:
    """Write the exchange, before its one use is taken: what cannot be written may be tried again."""
    registration = with_redirect(registered.registration, begun.redirect_uri)
    return messages.exchange(registration, code=code, code_verifier=verifier, labels=begun.labels)


def _consent(taken: Taken, end: Outcome, *, given: Kept, account: Account | None) -> Consent | None:
    """The consent that an answer tells of; None: it tells of none."""
    if not isinstance(end, Refreshed):
        return None
    begun = taken.begun
    return Consent(
        begun.grant_id,
        taken.registered,
        begun.ref,
        given.over(begun.labels),
        end.token_set,
        started_at=taken.started_at,
        refused_labels=given.refused,
        account=account,
        other_account_allowed=begun.other_account_allowed,
    )


def _write(
    runtime: Runtime, taken: Taken, end: Outcome, *, given: Consent | None, who: str
) -> StoredConsent | Exception:
    """Write what the exchange came to; what went wrong is returned, for it is settled as well."""
    with transaction() as connection:
        if _is_of_other_credentials(connection, taken, end):
            connect_request.give_back(connection, taken.begun.grant_id)
            stored: StoredConsent | Exception = CredentialsReplaced(end.code)
        else:
            _feed_valve(connection, taken, end)
            stored = _settled(connection, runtime, taken, end, given=given, who=who)
        if taken.begun.by_ticket:
            write_end(connection, taken.begun.grant_id, stored)
        return stored


def _is_of_other_credentials(connection: Connection, taken: Taken, end: Outcome) -> bool:
    """Whether a code was not looked at, for the secret that was shown with it, and another one is in force by now.

    A new secret that was refused before it ever worked gives way to the former one here, as where a refresh sees it.
    """
    known = taken.registered.known
    if not isinstance(end, NotUnderstood) or end.says_nothing or _is_of_the_code(end):
        return False
    if credentials.is_refused(known, end, known.credentials_no):
        credentials.fall_back(connection, known, end.code)
    return clients.known(connection, [known.id])[known.id].credentials_no != known.credentials_no


def _settled(
    connection: Connection, runtime: Runtime, taken: Taken, end: Outcome, *, given: Consent | None, who: str
) -> StoredConsent | Exception:
    match end:
        case Refreshed():
            assert given is not None  # noqa: S101  # it tells of one
            return _stored(connection, runtime, given, who=who)
        case HeldBack(code=code) | NotSent(code=code) | NotNow(code=code, unknown=False):
            connect_request.give_back(connection, taken.begun.grant_id)
            return ExchangeNotSent(code)
        case GrantThrottled(code=code) | Race(code=code):  # nothing was consumed
            connect_request.give_back(connection, taken.begun.grant_id)
            return ExchangeNotSent(code)
        case NotUnderstood(code=code) if end.says_nothing:
            return ExchangeUnclear(code)
        case NotNow(code=code) | Unknown(code=code):
            return ExchangeUnclear(code)
        case Refused() | NotUnderstood():
            return _refused(end)
        case _:
            assert_never(end)


def _stored(connection: Connection, runtime: Runtime, given: Consent, *, who: str) -> StoredConsent | ConsentError:
    """Store the grant, or what is wrong with it."""
    try:
        return store(connection, given, vault=runtime.vault, who=who)
    except AnotherAccount as error:
        dispose(connection, given, vault=runtime.vault, who=who)
        return error
    except ConsentError as error:
        return error


def _refused(end: Refused | NotUnderstood) -> ExchangeRefused:
    """What to tell whoever connects, by what a rule of the provider's file says; without one the settings are meant."""
    code = end.code.removesuffix(UNPROVEN)
    match end.means:
        case Means.DEAD:
            return CodeRefused(code)
        case Means.CONSENT:
            return UserRefused(code)
        case Means.SCOPE:
            return ScopeRefused(code)
        case _:
            return ExchangeRefused(code)


def _means(end: Outcome) -> Means | None:
    """What a rule says of a refused code."""
    return end.means if isinstance(end, Refused | NotUnderstood) else None


def _is_of_the_code(end: Outcome) -> bool:
    """Whether a code was refused, or its user: that says nothing of the provider, nor of us."""
    return end.code in REFUSED_CODES or _means(end) in ABOUT_THE_CODE


def _feed_valve(connection: Connection, taken: Taken, end: Outcome) -> None:
    """Tell the client's valve; a refused code says nothing about the provider."""
    sign = Sign.NEUTRAL if _is_of_the_code(end) else sign_of(end)
    if sign is None:
        return
    begun = taken.begun
    ended = Result(begun.grant_id, taken.started_at, sign, end.code, end.retry_after, isinstance(end, Refreshed))
    valves.feed(connection, {begun.client_id: [ended]}, {begun.client_id: taken.registered.known.credentials_no})
