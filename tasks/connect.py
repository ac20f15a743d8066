"""Connect: lead one user through the code flow (RFC 6749 §4.1, RFC 7636), once, for one ref.

begin    a state and a PKCE verifier, sealed in the database; the URL for the user
finish   the callback's state must be one made for this ref; its one use is committed before the code is
         sent; the answer is journaled before anybody parses it; then tasks/settling/consent.py makes the row
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import assert_never
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import structlog
from sqlalchemy import Connection

from models import client as clients
from models import connect_request, consent, installation, operator_actions, visit
from models import label as labels_held
from models.connect_request import Begun
from models.database import transaction
from models.sealing.vault import Vault
from models.states.installation import DatabaseState
from models.ticket import hashed
from tasks.connect_errors import (
    AnotherIssuer,
    ClientPaused,
    CodeRefused,
    DatabaseUnfit,
    Denied,
    ExchangeNotSent,
    ExchangeRefused,
    ExchangeUnclear,
    NoCallback,
    NoUser,
    RedirectUnfit,
    RefTooLong,
    ScopeRefused,
    StateForAnother,
    StateUnknown,
    StateUsed,
    StillRevoking,
    UserRefused,
)
from tasks.journal import JournalBroken, Position
from tasks.oauth import accounts, addresses, kept, messages
from tasks.oauth.accounts import Account
from tasks.oauth.addresses import Labels
from tasks.oauth.answer import Answer, HeldBack, NotSent, Response
from tasks.oauth.echoes import repeats
from tasks.oauth.error_answers import told_sentence, told_word
from tasks.oauth.errors import LabelMissing
from tasks.oauth.kept import Kept
from tasks.oauth.messages import Registration, Request
from tasks.oauth.provider import Provider
from tasks.oauth.rules import Asked, Means
from tasks.oauth.shapes import Kind, Reach
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
from tasks.runtime.registration import Registered, Registrations
from tasks.runtime.runtime import Runtime
from tasks.settling import access_life, credentials
from tasks.settling.consent import AnotherAccount, Consent, ConsentError, StoredConsent, dispose, store
from tasks.settling.reading import sign_of
from tasks.visit_ends import write_end

log = structlog.get_logger()

LIVES = timedelta(minutes=15)
EXCHANGE_PATIENCE = timedelta(minutes=1)
LOOK = timedelta(seconds=5)  # at whose account it is: a customer waits
MOST_TEXT = 200
BY_WEB = "pkce"  # the purpose of a verifier that was sealed without the refresh ring
LONGEST_REF = 255
REFUSED_CODES = frozenset({"invalid_grant", "invalid_grant_unproven"})
ABOUT_THE_CODE = frozenset({Means.DEAD, Means.CONSENT, Means.SCOPE})  # or about its user: not about the client


@dataclass(frozen=True, slots=True)
class Invitation:
    """Where the user must go, until when. The URL holds the state: whoever has it can end this flow."""

    url: str = field(repr=False)
    redirect_uri: str
    lives: timedelta


@dataclass(frozen=True, slots=True)
class Callback:
    """What the provider sent back through the user's browser (RFC 6749 §4.1.2)."""

    state: str = field(repr=False)
    code: str | None = field(repr=False)
    error: str | None
    description: str
    parameters: Mapping[str, str] = field(repr=False, default_factory=dict)  # all of its query that stands there once
    issuer: str | None = None  # who says that it sent it (RFC 9207)


def begin(
    registrations: Registrations,
    vault: Vault,
    client_id: int,
    ref: str,
    *,
    labels: dict[str, list[str]],
    scopes: list[str],
    redirect_uri: str | None,
    who: str,
) -> Invitation:
    """Begin a code flow for a ref.

    Raises:
        MissingSetting: the provider has no authorize URL, or neither client nor caller a redirect URI.
        AddressError: an address needs a label that was not given, or cannot be made of it; nobody need go there.
        StillRevoking: the ref's old consent must have ended first.
        RefTooLong: there is no room for the ref of a second grant.
        NoUser: the client's grants have none.

    """
    registered = registered_of(registrations, client_id)
    if registered.provider.kind is Kind.CLIENT_CREDENTIALS:
        raise NoUser(registered.known.name, ref)
    registration = _with_redirect(registered.registration, redirect_uri)
    refuse_long_ref(registered.provider, ref)
    with transaction() as connection:
        labels = with_known(connection, registered.provider, client_id, ref, labels)
    check_labels(registered.provider, labels)
    state, verifier, grant_id = secrets.token_urlsafe(32), messages.code_verifier(secrets.token_bytes(32)), uuid4()
    url = messages.authorize_url(
        registration,
        state=state,
        code_challenge=messages.code_challenge(verifier),
        scopes=scopes or None,
        labels=labels,
    )
    sealed = vault.seal(verifier, table="connect_requests", row_id=grant_id, purpose="verifier")
    with transaction() as connection:
        refuse_while_revoking(connection, registered.provider, client_id, ref)
        connect_request.begin(
            connection,
            grant_id=grant_id,
            client_id=client_id,
            ref=ref,
            state_hash=hashed(state),
            sealed_verifier=sealed,
            redirect_uri=str(registration.redirect_uri),
            scopes=scopes,
            labels=labels,
            lives=LIVES,
            who=who,
        )
    return Invitation(url, str(registration.redirect_uri), LIVES)


def with_known(
    connection: Connection, provider: Provider, client_id: int, ref: str, labels: dict[str, list[str]]
) -> dict[str, list[str]]:
    """Labels with those that addresses need besides: a ref that connects again need not say them again."""
    missing = {each for field_ in provider.addresses for each in addresses.needed(provider, field_)} - labels.keys()
    if not missing:
        return labels
    held = labels_held.of_ref(connection, client_id, ref)
    return {**{each: held[each] for each in sorted(missing & held.keys())}, **labels}


def check_labels(provider: Provider, labels: dict[str, list[str]]) -> None:
    """See that every address can be made of these labels and of those that come later; raises AddressError."""
    addresses.check(provider, labels, later=_kept_later(provider))


def _kept_later(provider: Provider) -> set[str]:
    """The labels that come with the redirect or later."""
    return provider.keep_from_redirect.keys() | _kept_after_exchange(provider)


def _kept_after_exchange(provider: Provider) -> set[str]:
    """The labels that come with an answer, or of a question to the API."""
    return provider.keep_from_answer.keys() | provider.labels_at.keys()


def read_callback(url: str, *, code_parameter: str = "code") -> Callback:
    """Read the URL that the user came back to; `code_parameter` is what its provider calls the code.

    Raises:
        NoCallback: it holds no state, or neither a code nor an error.

    """
    members = parse_qs(urlsplit(url.strip()).query, keep_blank_values=True, max_num_fields=50)
    once = {name: values[0] for name, values in members.items() if len(values) == 1}
    state, code, error = once.get("state"), once.get(code_parameter), once.get("error")
    if not state or not (code or error):
        raise NoCallback
    # Named twice it is nobody's, not as if it were not named.
    issuer = _cleaned(" ".join(members["iss"])) if "iss" in members else None
    return Callback(state, code or None, _cleaned(error), _cleaned(once.get("error_description")) or "", once, issuer)


def _cleaned(text: str | None) -> str | None:
    """Text of a stranger's, fit for one line of a terminal."""
    return text and "".join(c if c.isprintable() else " " for c in text)[:MOST_TEXT]


def finish(
    runtime: Runtime, callback: Callback, *, client_id: int, ref: str, who: str, patience: timedelta = EXCHANGE_PATIENCE
) -> StoredConsent:
    """Exchange the code of a callback and store the grant.

    `patience`: how long a human waits for a database that is away; then whoever drains the journal stores it.

    Raises:
        ConnectError: see tasks/connect_errors.py; nothing was stored.
        ConsentError: see tasks/settling/consent.py; nothing was stored.
        AddressError: the labels make no address; nothing was sent, and the callback is as good as before.
        JournalBroken: the answer could not be kept safe, so nothing was sent.

    """
    begun = _find(callback, client_id=client_id, ref=ref)
    registered = registered_of(runtime.registrations, client_id)
    expect_issuer(callback, registered.provider)
    if (reason := runtime.journal.check_writable()) is not None:
        raise JournalBroken(reason)
    request, verifier, secret = None, "", registered.registration.client_secret
    if callback.code is not None:
        begun = replace(begun, labels=_labels(registered.provider, begun, callback))
        verifier = _verifier(runtime, begun)
        request = _request(registered, begun, callback.code, verifier)
    started_at = _take(runtime, registered, begun)
    if request is None:
        hide = (callback.state, secret)
        raise Denied(told_word(callback.error, hide), told_sentence(callback.description, hide))
    sent = (callback.code or "", verifier, callback.state, secret)
    answer, position, end = _exchange(runtime, registered, begun, request, started_at, hide=sent)
    if (former := _with_former_secret(runtime, registered, end)) is not None:
        registered = former
        request = _request(registered, begun, callback.code or "", verifier)
        sent = (callback.code or "", verifier, callback.state, registered.registration.client_secret)
        answer, position, end = _exchange(runtime, registered, begun, request, started_at, hide=sent)
    end = of_kind(fit_to_keep(end, sent), registered.provider.kind)
    body = answer.body if isinstance(answer, Response) else b""
    given = kept.from_answer(registered.provider, body, begun.labels)
    given = given.without(sent, tokens=tokens_of(end.token_set) if isinstance(end, Refreshed) else ())
    told = accounts.from_answer(registered.provider, body, callback.parameters)
    labels = given.over(begun.labels)
    account = _account(runtime, registered, begun, end, labels=labels, told=told)
    consented = _consent(registered, begun, end, given=given, account=account, started_at=started_at)
    stored = _settle(
        runtime, registered, begun, end, given=consented, started_at=started_at, who=who, patience=patience
    )
    if position is not None:
        runtime.journal.mark_settled([position])
    if isinstance(stored, StoredConsent):
        access_life.learn_of(runtime, registered, stored)
        return stored
    raise stored


def _find(callback: Callback, *, client_id: int, ref: str) -> Begun:
    with transaction() as connection:
        begun = connect_request.find(connection, hashed(callback.state))
    if begun is None or begun.client_id != client_id:
        raise StateUnknown
    if begun.ref != ref:
        raise StateForAnother(begun.ref)
    if begun.expired:
        raise StateUnknown
    return begun


def expect_issuer(callback: Callback, provider: Provider) -> None:
    """Let pass what the client's own server sent, as far as it says so (RFC 9207 §2.4).

    Raises:
        AnotherIssuer: it is another's, or nobody's where ours always names itself.

    """
    if provider.issuer is None or callback.issuer == provider.issuer:
        return
    if callback.issuer is not None or provider.issuer_in_callback:
        named = callback.issuer
        if named is not None and repeats(named, (callback.state, callback.code or "")):
            named = f"<string {len(named)}>"
        raise AnotherIssuer(named, provider.issuer)


def _take(runtime: Runtime, registered: Registered, begun: Begun) -> datetime:
    """Commit the one use of this flow, and a slot of the client's rate."""
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


def _exchange(
    runtime: Runtime,
    registered: Registered,
    begun: Begun,
    request: Request,
    started_at: datetime,
    *,
    hide: tuple[str, ...],
) -> tuple[Answer, Position | None, Outcome]:
    """Ask for the token set, journal it, and read it; returns also where it stands in the journal, and what it means.

    `hide`: the secrets of the flow and of the client, which nothing that is told repeats.
    """
    answer = _ask(runtime, registered, request)
    received_at = clock.wall()
    position = _write_down(runtime, registered, begun, answer, started_at=started_at, received_at=received_at)
    end = outcome(
        answer,
        provider=registered.provider,
        proven=registered.known.proven,
        wall_clock=received_at,
        hide=hide,
        to=Asked.CODE,
    )
    return answer, position, end


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
        addresses.check(provider, labels, later=_kept_after_exchange(provider))
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
    registration = _with_redirect(registered.registration, begun.redirect_uri)
    return messages.exchange(registration, code=code, code_verifier=verifier, labels=begun.labels)


def _ask(runtime: Runtime, registered: Registered, request: Request) -> Answer:
    sending = retry.send(runtime.transport, request, deadline=registered.times.deadline, guard=lambda: None)
    return runtime.transport.submit(sending).result()


def _write_down(
    runtime: Runtime,
    registered: Registered,
    begun: Begun,
    answer: Answer,
    *,
    started_at: datetime,
    received_at: datetime,
) -> Position | None:
    """Journal a body that may hold tokens; None: it holds none, or goes straight to the database."""
    if not isinstance(answer, Response) or not answer.may_hold_tokens:
        return None
    entry = entry_of(
        answer,
        registered.known,
        kind="exchange",
        grant_id=begun.grant_id,
        ref=begun.ref,
        labels=begun.labels,
        generation=0,
        fingerprint=b"",
        started_at=started_at,
        received_at=received_at,
    )
    return write_down(runtime.journal, [entry])[0]


def _consent(
    registered: Registered, begun: Begun, end: Outcome, *, given: Kept, account: Account | None, started_at: datetime
) -> Consent | None:
    """The consent that an answer tells of; None: it tells of none."""
    if not isinstance(end, Refreshed):
        return None
    return Consent(
        begun.grant_id,
        registered,
        begun.ref,
        given.over(begun.labels),
        end.token_set,
        started_at=started_at,
        refused_labels=given.refused,
        account=account,
        other_account_allowed=begun.other_account_allowed,
    )


def _account(
    runtime: Runtime, registered: Registered, begun: Begun, end: Outcome, *, labels: Labels, told: Account | None
) -> Account | None:
    """Whose account it is: what was told, as the provider's file says; else, of a ticket, by one introspection."""
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


def _settle(
    runtime: Runtime,
    registered: Registered,
    begun: Begun,
    end: Outcome,
    *,
    given: Consent | None,
    started_at: datetime,
    who: str,
    patience: timedelta,
) -> StoredConsent | Exception:
    """Write what the exchange came to; what went wrong is returned, for it is settled as well."""

    def write() -> StoredConsent | Exception:
        with transaction() as connection:
            _feed_valve(connection, registered, begun, end, started_at)
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


def _feed_valve(
    connection: Connection, registered: Registered, begun: Begun, end: Outcome, started_at: datetime
) -> None:
    """Tell the client's valve; a refused code says nothing about the provider."""
    sign = Sign.NEUTRAL if _is_of_the_code(end) else sign_of(end)
    if sign is None:
        return
    ended = Result(begun.grant_id, started_at, sign, end.code, end.retry_after, isinstance(end, Refreshed))
    numbers = {begun.client_id: registered.known.credentials_no}
    valves.feed(connection, {begun.client_id: [ended]}, numbers)


def registered_of(registrations: Registrations, client_id: int) -> Registered:
    """A client's registration, ready to send with; raises as `Registrations.ready`."""
    with transaction() as connection:
        known = clients.known(connection, [client_id])[client_id]
    return registrations.ready(known)


def _with_redirect(registration: Registration, redirect_uri: str | None) -> Registration:
    return replace(registration, redirect_uri=redirect_uri or registration.redirect_uri)


def refuse_while_revoking(connection: Connection, provider: Provider, client_id: int, ref: str) -> None:
    """Where one revocation kills everything of a user, a new consent would die with the old one."""
    if provider.revocation is Reach.GRANT:
        second = provider.second_token_set
        refs = [ref] if second is None else [ref, second.ref(ref)]
        pending = consent.pending_revocations(connection, client_id, refs)
        if pending:
            raise StillRevoking(min(pending.values()))


def refuse_long_ref(provider: Provider, ref: str) -> None:
    """Where a consent becomes two grants, there must be room for the ref of the second one."""
    second = provider.second_token_set
    if second is not None and len(second.ref(ref)) > LONGEST_REF:
        raise RefTooLong(second.ref(ref))
