"""Code use: the one use of a code is committed before it is sent, and what cannot be sent may be tried again."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy import Connection

from models import client as clients
from models import connect_request, installation, operator_actions, visit
from models.connect_request import Begun
from models.database import transaction
from models.states.installation import DatabaseState
from tasks.connect import (
    BY_WEB,
    Callback,
    expect_issuer,
    kept_after_exchange,
    still_revoking,
    with_redirect,
)
from tasks.connect_errors import (
    ClientPaused,
    ConnectError,
    DatabaseUnfit,
    Denied,
    RedirectUnfit,
    StateUnknown,
    StateUsed,
)
from tasks.journal import JournalBroken
from tasks.oauth import addresses, kept, messages
from tasks.oauth.error_answers import told_sentence, told_word
from tasks.oauth.errors import LabelMissing
from tasks.oauth.messages import Request
from tasks.oauth.provider import Provider
from tasks.policy.valve import USABLE_SHARE
from tasks.runtime.registration import Registered
from tasks.runtime.runtime import Runtime

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A code that may be sent, and what is sent with it; its flow has the labels of its redirect."""

    registered: Registered
    begun: Begun
    callback: Callback = field(repr=False)
    verifier: str = field(repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Those of the flow and of the client, which nothing that is told repeats."""
        secret = self.registered.registration.client_secret
        return tuple(filter(None, (self.callback.code, self.verifier, self.callback.state, secret)))


@dataclass(frozen=True, slots=True)
class Taken(Prepared):
    """A code whose one use is committed."""

    started_at: datetime


def take(runtime: Runtime, registered: Registered, begun: Begun, callback: Callback) -> Taken:
    """Commit the one use of this flow, and a slot of the client's rate; raises as `finish`."""
    prepared = prepare(runtime, registered, begun, callback)
    with transaction() as connection:
        used = _use(connection, runtime, [prepared])
    return taken(prepared, used.get(begun.grant_id, StateUsed()))


def prepare(runtime: Runtime, registered: Registered, begun: Begun, callback: Callback) -> Prepared:
    """See that a code may be sent, before its one use is taken; raises as `finish`."""
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
        request(registered, begun, callback.code, verifier)  # what cannot be written may be tried again
    return Prepared(registered, begun, callback, verifier)


def taken(prepared: Prepared, used: datetime | ConnectError) -> Taken:
    """A code whose one use was taken; raises what was in the way, and what came in its place."""
    if isinstance(used, ConnectError):
        raise used
    callback, secrets = prepared.callback, prepared.secrets
    if callback.code is None:
        raise Denied(told_word(callback.error, secrets), told_sentence(callback.description, secrets))
    return Taken(prepared.registered, prepared.begun, callback, prepared.verifier, used)


def use_free(runtime: Runtime, group: Sequence[Prepared]) -> dict[UUID, datetime | ConnectError]:
    """Commit the one use of each of these visits of one client; none stands there of which somebody has locked a row.

    Raises:
        ClientPaused, DatabaseUnfit: nobody's code may be sent.

    """
    with transaction() as connection:
        free = set(visit.free(connection, [each.begun.grant_id for each in group]))
        used = _use(connection, runtime, [each for each in group if each.begun.grant_id in free])
    return {each: used.get(each, StateUsed()) for each in free}


def _use(connection: Connection, runtime: Runtime, group: Sequence[Prepared]) -> dict[UUID, datetime | ConnectError]:
    """Take the one use of flows of one client, and slots of its rate; those that were used before are not there."""
    if not group:
        return {}
    provider, client_id = group[0].registered.provider, group[0].begun.client_id
    waiting = still_revoking(connection, provider, client_id, [each.begun.ref for each in group])
    if operator_actions.is_paused(connection, client_id):
        raise ClientPaused
    if (state := installation.state(connection, runtime.settings.environment)) != DatabaseState.FIT:
        raise DatabaseUnfit(state)
    wanted = {each.begun.grant_id: each.begun for each in group if each.begun.ref not in waiting}
    used = connect_request.use(connection, list(wanted))
    begun = [wanted[each] for each in used]
    if by_ticket := [each.grant_id for each in begun if each.by_ticket]:
        visit.take(connection, by_ticket, runtime.journal_id)
    slots = sum(1 + asks_for_account(provider, each) for each in begun)
    clients.debit(connection, client_id, usable_share=USABLE_SHARE, slots=slots)
    return {**used, **{each.begun.grant_id: waiting[each.begun.ref] for each in group if each.begun.ref in waiting}}


def asks_for_account(provider: Provider, begun: Begun) -> bool:
    """Whether only an introspection tells whose account it is, and somebody wants to know."""
    return begun.by_ticket and provider.account_at is None and provider.introspect_url is not None


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


def request(registered: Registered, begun: Begun, code: str, verifier: str) -> Request:
    """Write the exchange, before its one use is taken: what cannot be written may be tried again."""
    registration = with_redirect(registered.registration, begun.redirect_uri)
    return messages.exchange(registration, code=code, code_verifier=verifier, labels=begun.labels)
