"""Exchange end: an answer to an exchange is read, and becomes a row, or is written down as what went wrong."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple, assert_never

from sqlalchemy import Connection

from models import client as clients
from models import connect_request, visit
from models.database import transaction
from tasks.code_use import Taken
from tasks.connect_errors import (
    CodeRefused,
    CredentialsReplaced,
    ExchangeNotSent,
    ExchangeRefused,
    ExchangeUnclear,
    ScopeRefused,
    UserRefused,
)
from tasks.journal import Position
from tasks.oauth import accounts, kept
from tasks.oauth.accounts import Account
from tasks.oauth.answer import Answer, HeldBack, NotSent, Response
from tasks.oauth.kept import Kept
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
from tasks.policy.valve import Result, Sign
from tasks.runtime import retry, valves
from tasks.runtime.runtime import Runtime
from tasks.settling import credentials
from tasks.settling.consent import AnotherAccount, Consent, ConsentError, StoredConsent, dispose, store_all
from tasks.settling.reading import sign_of
from tasks.visit_ends import write_end

REFUSED_CODES = frozenset({"invalid_grant", "invalid_grant_unproven"})
ABOUT_THE_CODE = frozenset({Means.DEAD, Means.CONSENT, Means.SCOPE})  # or about its user: not about the client


class Journaled(NamedTuple):
    """The same once it is kept; `position` is None where it holds no tokens, or the journal is broken."""

    answer: Answer
    received_at: datetime
    position: Position | None


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
    end, consented = read(taken, journaled, account)
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


def read(taken: Taken, journaled: Journaled, account: Account | None) -> tuple[Outcome, Consent | None]:
    """What an answer means, and the consent that it tells of; `account`: as an introspection told it."""
    end, given = understood(taken, journaled)
    body = journaled.answer.body if isinstance(journaled.answer, Response) else b""
    told = account or accounts.from_answer(taken.registered.provider, body, taken.callback.parameters)
    return end, _consent(taken, end, given=given, account=told)


def understood(taken: Taken, journaled: Journaled) -> tuple[Outcome, Kept]:
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
            _feed_valve(connection, [(taken, end)])
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
            return _stored(connection, runtime, [given], who=who)[0]
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


def write_connected(
    runtime: Runtime, group: Sequence[tuple[Taken, Outcome, Consent]], *, who: str
) -> list[StoredConsent | ConsentError]:
    """Store the grants of visits of one client, as `consent.store_all` takes them, and write how each visit ended."""
    with transaction() as connection:
        _feed_valve(connection, [(taken, end) for taken, end, _ in group])
        stored = _stored(connection, runtime, [given for _, _, given in group], who=who)
        ends = list(zip([taken.begun.grant_id for taken, _, _ in group], stored, strict=True))
        visit.end_connected(connection, [each for each, end in ends if isinstance(end, StoredConsent)])
        for visit_id, end in ends:
            if isinstance(end, ConsentError):
                write_end(connection, visit_id, end)
    return stored


def _stored(
    connection: Connection, runtime: Runtime, given: Sequence[Consent], *, who: str
) -> list[StoredConsent | ConsentError]:
    """Store grants; of each, what it became or what is wrong with it."""
    stored = store_all(connection, given, vault=runtime.vault, who=who)
    for each, end in zip(given, stored, strict=True):
        if isinstance(end, AnotherAccount):
            dispose(connection, each, vault=runtime.vault, who=who)
    return stored


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


def _feed_valve(connection: Connection, group: Sequence[tuple[Taken, Outcome]]) -> None:
    """Tell the valve of a client how exchanges ended; a refused code says nothing about the provider."""
    results = [result for taken, end in group if (result := _result(taken, end)) is not None]
    if results:
        client_id, knowns = group[0][0].begun.client_id, [taken.registered.known for taken, _ in group]
        valves.feed(connection, {client_id: results}, {client_id: max(each.credentials_no for each in knowns)})


def _result(taken: Taken, end: Outcome) -> Result | None:
    sign = Sign.NEUTRAL if _is_of_the_code(end) else sign_of(end)
    if sign is None:
        return None
    code, wait = end.code, end.retry_after
    return Result(taken.begun.grant_id, taken.started_at, sign, code, wait, isinstance(end, Refreshed))
