"""The exchange of a code, once, in steps between which nobody need wait in a thread (tasks/runtime/exchanges.py).

take      the callback's state must be one made for this ref; its one use is committed before the code is sent
ask       one request, on the loop thread
keep      its answer is journaled before anybody parses it
settle    it is read, and becomes a row: tasks/settling/consent.py
"""

from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
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
from tasks.oauth.addresses import Labels
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


class Arrived(NamedTuple):
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
    """Exchange the code of a callback and store the grant, all three steps; the caller's thread waits.

    `patience`: how long a human waits for a database that is away; then whoever drains the journal stores it.

    Raises:
        ConnectError: see tasks/connect_errors.py; nothing was stored.
        ConsentError: see tasks/settling/consent.py; nothing was stored.
        AddressError: the labels make no address; nothing was sent, and the callback is as good as before.
        JournalBroken: the answer could not be kept safe, so nothing was sent.

    """
    with transaction() as connection:
        begun = connect_request.find(connection, hashed(callback.state))
        known = clients.known(connection, [client_id])[client_id]
    if begun is None or begun.client_id != client_id:
        raise StateUnknown
    if begun.ref != ref:
        raise StateForAnother(begun.ref)
    taken = take(runtime, runtime.registrations.ready(known), begun, callback)
    return settle(runtime, taken, keep(runtime, taken, ask(runtime, taken).result()), who=who, patience=patience)


def take(runtime: Runtime, registered: Registered, begun: Begun, callback: Callback) -> Taken:
    """Commit the one use of this flow, and a slot of the client's rate; raises as `finish`."""
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
        clients.debit(connection, begun.client_id, usable_share=USABLE_SHARE)
        return started_at


def ask(runtime: Runtime, taken: Taken) -> Future[Arrived]:
    """Send the code, once."""
    request = _request(taken.registered, taken.begun, taken.callback.code or "", taken.verifier)

    async def arrived() -> Arrived:
        deadline = taken.registered.times.deadline
        answer = await retry.send(runtime.transport, request, deadline=deadline, guard=lambda: None)
        return Arrived(answer, clock.wall())

    return runtime.transport.submit(arrived())


def keep(runtime: Runtime, taken: Taken, arrived: Arrived) -> Journaled:
    """Journal an answer that may hold tokens, before anybody parses it."""
    answer, received_at = arrived
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


def settle(runtime: Runtime, taken: Taken, journaled: Journaled, *, who: str, patience: timedelta) -> StoredConsent:
    """Read an answer, and write what the exchange came to; raises as `finish`."""
    read = _read(taken, journaled)
    if (former := _with_former_secret(runtime, taken.registered, read)) is not None:
        taken = replace(taken, registered=former)
        journaled = keep(runtime, taken, ask(runtime, taken).result())
        read = _read(taken, journaled)
    registered, begun, sent = taken.registered, taken.begun, taken.secrets
    end = of_kind(fit_to_keep(read, sent), registered.provider.kind)
    body = journaled.answer.body if isinstance(journaled.answer, Response) else b""
    given = kept.from_answer(registered.provider, body, begun.labels)
    given = given.without(sent, tokens=tokens_of(end.token_set) if isinstance(end, Refreshed) else ())
    told = accounts.from_answer(registered.provider, body, taken.callback.parameters)
    account = _account(runtime, taken, end, labels=given.over(begun.labels), told=told)
    consented = _consent(taken, end, given=given, account=account)
    stored = _written(runtime, taken, end, given=consented, who=who, patience=patience)
    if journaled.position is not None:
        runtime.journal.mark_settled([journaled.position])
    if isinstance(stored, StoredConsent):
        access_life.learn_of(runtime, registered, stored)
        return stored
    raise stored


def _read(taken: Taken, journaled: Journaled) -> Outcome:
    return outcome(
        journaled.answer,
        provider=taken.registered.provider,
        proven=taken.registered.known.proven,
        wall_clock=journaled.received_at,
        hide=taken.secrets,
        to=Asked.CODE,
    )


def _with_former_secret(runtime: Runtime, registered: Registered, end: Outcome) -> Registered | None:
    """Fall back to the former secret where the new one was refused: a code that was not looked at is good still."""
    known = registered.known
    if _is_of_the_code(end) or not credentials.is_refused(known, end, known.credentials_no):
        return None
    with transaction() as connection:
        if credentials.fall_back(connection, known, end.code) is None:
            return None
        clients.debit(connection, known.id, usable_share=USABLE_SHARE)
    return registered_of(runtime.registrations, known.id)


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


def _account(runtime: Runtime, taken: Taken, end: Outcome, *, labels: Labels, told: Account | None) -> Account | None:
    """Whose account it is: what was told, as the provider's file says; else, of a ticket, by one introspection."""
    registered, begun = taken.registered, taken.begun
    provider = registered.provider
    asks = begun.by_ticket and provider.account_at is None and provider.introspect_url is not None
    if not asks or not isinstance(end, Refreshed):
        return told
    token = end.token_set.access_token
    try:
        with transaction() as connection:
            clients.debit(connection, begun.client_id, usable_share=USABLE_SHARE)
        request = messages.introspect(registered.registration, token=token, labels=labels, hint="access_token")
        sending = runtime.transport.send(request, deadline=min(registered.times.deadline, LOOK))
        told = accounts.from_introspection(runtime.transport.submit(sending).result())
    except Exception as error:  # noqa: BLE001  # the token set is here: nothing keeps it from its row
        log.warning(
            "connect.account_not_asked", client=registered.known.name, ref=begun.ref, error=type(error).__name__
        )
        return None
    if told is None:
        log.warning("connect.account_untold", client=registered.known.name, ref=begun.ref)
    return told


def _written(
    runtime: Runtime, taken: Taken, end: Outcome, *, given: Consent | None, who: str, patience: timedelta
) -> StoredConsent | Exception:
    """Write what the exchange came to; what went wrong is returned, for it is settled as well."""
    begun = taken.begun

    def write() -> StoredConsent | Exception:
        with transaction() as connection:
            _feed_valve(connection, taken, end)
            stored = settled(connection)
            if begun.by_ticket:
                write_end(connection, begun.grant_id, stored)
            return stored

    def settled(connection: Connection) -> StoredConsent | Exception:  # one a kind
        match end:
            case Refreshed():
                assert given is not None  # noqa: S101  # it tells of one
                return _stored(connection, runtime, given, who=who)
            case HeldBack(code=code) | NotSent(code=code) | NotNow(code=code, unknown=False):
                connect_request.give_back(connection, begun.grant_id)
                return ExchangeNotSent(code)
            case GrantThrottled(code=code) | Race(code=code):  # nothing was consumed
                connect_request.give_back(connection, begun.grant_id)
                return ExchangeNotSent(code)
            case NotUnderstood(code=code) if end.says_nothing:
                return ExchangeUnclear(code)
            case NotNow(code=code) | Unknown(code=code):
                return ExchangeUnclear(code)
            case Refused() | NotUnderstood():
                return _refused(end)
            case _:
                assert_never(end)

    return retry.while_database_away(write, give_up=runtime.giving_up, patience=patience)


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
