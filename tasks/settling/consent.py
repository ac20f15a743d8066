"""Consent: a new one becomes a row, by one rule for a code flow that just ended and for its replay from a journal.

the pair is another ref's    refused, naming that ref
the pair is the row's own    the row stays (Doorkeeper's `reuse_access_token`)
the ref has a live row       a new row, generation going on; the old one is on its way to the end
otherwise                    a new row
a second token set beside    likewise, as REF/suffix: two grants of one consent, which live on by themselves
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID, uuid5

import structlog
from sqlalchemy import Connection

from models import asked_labels, connect_request, consent, dead_letter, event, grant_account, label
from models import client as clients
from models.consent import LiveRow, NewGrant
from models.errors import Told
from models.sealing.vault import Vault, VaultError
from models.states.client import Keep
from models.states.dead_letter import LetterKind, Resolution
from models.states.event import EventType
from models.states.grant import GrantStatus
from tasks.journal import Entry
from tasks.oauth import accounts
from tasks.oauth.accounts import Account
from tasks.oauth.kept import from_answer
from tasks.oauth.provider import Provider
from tasks.oauth.shapes import Kind, Reach
from tasks.oauth.token_answer import TokenAnswer, TokenSet, read_token_answer, tokens_of, told_scope
from tasks.policy.ends import ends
from tasks.policy.introspection import asks_for_life
from tasks.policy.kinds import held_of, placeholder
from tasks.runtime.registration import Registered
from tasks.runtime.runtime import Runtime
from tasks.settling.strange import tell_once

log = structlog.get_logger()


class ConsentError(Told):
    """A consent was given and cannot become a row."""


class PairHeld(ConsentError):
    """The provider gave the very pair that another ref holds: {ref} of client {client}.

    Two grants that share one refresh token would kill each other.
    """

    error = "pair_held"
    next = "use that ref, or revoke it before this user connects again"

    def __init__(self, ref: str, client: str) -> None:
        super().__init__(ref=ref, client=client)
        self.ref = ref
        self.client = client


class AnotherAccount(ConsentError):
    """The user signed in with another account at the provider than the one that {ref} is connected to.

    What it was connected to stays; what they allowed now is revoked.
    """

    error = "another_account"
    next = (
        "sign in there with the account as before, or allow another one: `grants reconnect-link --allow-other-account`"
    )

    def __init__(self, ref: str) -> None:
        super().__init__(ref=ref)


class NoRefreshToken(ConsentError):
    """The provider gave no refresh token, so this grant could not be kept alive."""

    error = "no_refresh_token"
    next = "ask for offline access in the provider file (scopes or authorize_parameters), then begin again"


@dataclass(frozen=True, slots=True)
class Consent:
    """One consent with its first token set; `grant_id` was chosen before the code was sent."""

    grant_id: UUID
    registered: Registered
    ref: str
    labels: dict[str, list[str]]
    token_set: TokenSet = field(repr=False)
    started_at: datetime
    refused_labels: Mapping[str, str] = field(default_factory=dict)  # that came with it and cannot be kept
    generation: int = 0  # that was asked from: more than 0 only where a replay meets a refresh before its exchange
    account: Account | None = None  # at the provider, where it is told
    other_account_allowed: bool = True


@dataclass(frozen=True, slots=True)
class StoredConsent:
    """What a consent became; `how`: connected, reconnected, unchanged, or replaced by a newer one.

    `second`: what its second token set became, where the provider gives two in one consent. `asks_for_life`: when it is
    due, of a new row whose life only an introspection tells.
    """

    grant_id: UUID
    generation: int
    how: str
    ref: str
    second: "StoredConsent | None" = None
    asks_for_life: datetime | None = None


def store(connection: Connection, given: Consent, *, vault: Vault, who: str, replayed: bool = False) -> StoredConsent:
    """Store a consent; repeating it changes nothing. `replayed`: it is an old one, perhaps older than what is there.

    A second token set of it becomes a grant of its own, in the same transaction. Nothing is written before it is known
    that both may come in.

    Raises:
        NoRefreshToken: it cannot be kept alive.
        PairHeld: another ref holds the pair.
        AnotherAccount: its user must come back with the account as before, and has not.

    """
    given = _with_placeholder(given)
    both = [given, *filter(None, [second_of(given)])]
    rows = consent.live_rows(connection, given.registered.known.id, [each.ref for each in both])
    for each in both:
        _refuse_held(connection, each, vault)
    _refuse_another_account(connection, given, rows.get(given.ref), vault)
    first, *second = (
        _store(connection, each, rows.get(each.ref), vault=vault, who=who, replayed=replayed) for each in both
    )
    return replace(first, second=second[0]) if second else first


def second_of(given: Consent) -> Consent | None:
    """The grant that the second token set of a consent becomes, where there is one that can be kept alive.

    Its id comes of the first one's and its name: an exchange has one entry in the journal, and a replay of it must find
    the row that was made.
    """
    place, token_set = given.registered.provider.second_token_set, given.token_set.second
    if place is None or token_set is None or token_set.refresh_token in (None, given.token_set.refresh_token):
        return None
    own_id = uuid5(given.grant_id, place.suffix)
    return replace(given, grant_id=own_id, ref=place.ref(given.ref), token_set=token_set, account=None)


def _with_placeholder(given: Consent) -> Consent:
    """A grant without a user holds something of its own in the refresh token's place."""
    if given.registered.provider.kind is not Kind.CLIENT_CREDENTIALS:
        return given
    return replace(given, token_set=replace(given.token_set, refresh_token=placeholder(given.grant_id)))


def _refuse_held(connection: Connection, given: Consent, vault: Vault) -> None:
    if given.token_set.refresh_token is None:
        raise NoRefreshToken
    for holder in consent.holders(connection, vault.fingerprints(given.token_set.refresh_token)):
        if (holder.client_id, holder.ref) != (given.registered.known.id, given.ref):
            raise PairHeld(holder.ref, holder.client)


def _refuse_another_account(connection: Connection, given: Consent, old: LiveRow | None, vault: Vault) -> None:
    """Compare whose account it is with whose it was, where both were told in one place."""
    if given.other_account_allowed or given.account is None or old is None or old.id == given.grant_id:
        return
    before = grant_account.of(connection, old.id)
    if before is None:
        return
    try:
        known = Account.read(vault.open(before, table="grant_accounts", row_id=old.id, purpose="account"))
    except VaultError as error:
        log.warning("consent.account_unopened", grant_id=str(old.id), reason=str(error))
        return
    if known.is_another(given.account):
        raise AnotherAccount(given.ref)


def dispose(connection: Connection, given: Consent, *, vault: Vault, who: str) -> None:
    """Send what was refused to its end: it is nobody's grant, and its pairs live at the provider."""
    for each in (given, *filter(None, [second_of(given)])):
        if each.token_set.refresh_token is not None and not consent.exists(connection, each.grant_id):
            _replaced_row(connection, each, each.token_set.refresh_token, vault=vault, who=who)


def _store(
    connection: Connection, given: Consent, old: LiveRow | None, *, vault: Vault, who: str, replayed: bool
) -> StoredConsent:
    """Store one grant of a consent; `old`: the row that holds its ref now."""
    token = given.token_set.refresh_token or ""
    fingerprints = vault.fingerprints(token)
    if old is not None and (old.refresh_fingerprint in fingerprints or old.id == given.grant_id):
        return StoredConsent(old.id, old.generation, "unchanged", given.ref)
    if consent.exists(connection, given.grant_id):
        return StoredConsent(given.grant_id, 0, "unchanged", given.ref)
    if replayed and old is not None and _was_replaced_by(old, given):
        return _replaced_row(connection, given, token, vault=vault, who=who)
    return _new_row(connection, given, old, token, vault=vault, who=who)


def _was_replaced_by(other: LiveRow, given: Consent) -> bool:
    """Whether `other` is the newer consent: generations go on from one consent of a ref to the next."""
    return other.created_at > given.started_at or 0 < given.generation <= other.generation


def _replaced_row(
    connection: Connection, given: Consent, refresh_token: str, *, vault: Vault, who: str
) -> StoredConsent:
    """Make the row of a consent that was replaced: its pairs must die, if their end is not noted anyway."""
    provider = given.registered.provider
    row = replace(_row(given, None, refresh_token, provider, vault), status=GrantStatus.REVOKING)
    consent.insert(connection, given.registered.known.id, [row])
    consent.retire(connection, row.id, at_once=provider.revocation is not Reach.GRANT, who=who)
    return StoredConsent(row.id, row.generation, "replaced", row.ref)


def make_missing(connection: Connection, runtime: Runtime, entry: Entry) -> str | None:
    """Make the row that an answer tells of: nobody stored it, or that commit is missing.

    Returns how, `refused` where nothing is to be kept of it, or None: there is no such client.
    """
    client_id = clients.id_of(connection, entry.client)
    if client_id is None:
        log.error("journal.unknown_client", client=entry.client, grant_id=entry.grant_id)
        return None
    registered = runtime.registrations.ready(clients.known(connection, [client_id])[client_id])
    stored = replay(connection, entry, registered, vault=runtime.vault)
    return "refused" if stored is None else stored.how


def read(entry: Entry, provider: Provider) -> TokenAnswer:
    """What a journaled answer says, at the places that its client's provider file names."""
    return read_token_answer(entry.body, paths=provider.token_set, second=provider.second_token_set)


def replay(connection: Connection, entry: Entry, registered: Registered, *, vault: Vault) -> StoredConsent | None:
    """Store the consent that a journaled answer tells of; None where it holds no token set that can be kept.

    It may be the answer to an exchange that nobody stored, or to any request for a row whose making is among the
    commits that are missing. Journals come in any order: a consent that was replaced since is on its way to the end.
    An entry whose pair another ref holds, or that has no refresh token, was refused to the user's face already.
    """
    given = _given(entry, registered)
    return None if given is None else _stored_again(connection, given, vault)


def replay_second(
    connection: Connection, entry: Entry, registered: Registered, *, vault: Vault
) -> StoredConsent | None:
    """Store the second grant of an exchange whose first one has its row: a refresh of that one was read before it."""
    given = _given(entry, registered)
    second = None if given is None else second_of(given)
    return None if second is None else _stored_again(connection, second, vault)


def _given(entry: Entry, registered: Registered) -> Consent | None:
    """The consent that an entry tells of; only an exchange has a second token set."""
    token_set = read(entry, registered.provider)
    if not isinstance(token_set, TokenSet):
        return None
    # The code and its verifier are spent, and unknown by now; the client's secret is what could be told still.
    sent = (registered.registration.client_secret,)
    token_set = told_scope(token_set, sent)
    kept = from_answer(registered.provider, entry.body, entry.labels).without(sent, tokens=tokens_of(token_set))
    return Consent(
        UUID(entry.grant_id),
        registered,
        entry.ref,
        kept.over(entry.labels),
        held_of(token_set if entry.kind == "exchange" else replace(token_set, second=None), registered.provider.kind),
        started_at=entry.started_at,
        refused_labels=kept.refused,
        generation=entry.generation,
        account=accounts.from_answer(registered.provider, entry.body) if entry.kind == "exchange" else None,
    )


def _stored_again(connection: Connection, given: Consent, vault: Vault) -> StoredConsent | None:
    allowed = connect_request.other_account_allowed(connection, given.grant_id)
    given = replace(given, other_account_allowed=allowed)
    try:
        return store(connection, given, vault=vault, who="evergrant", replayed=True)
    except AnotherAccount:
        dispose(connection, given, vault=vault, who="evergrant")
        return None
    except ConsentError:
        return None


def _new_row(
    connection: Connection, given: Consent, old: LiveRow | None, refresh_token: str, *, vault: Vault, who: str
) -> StoredConsent:
    known, provider = given.registered.known, given.registered.provider
    if old is not None:
        consent.retire(connection, old.id, at_once=provider.revocation is not Reach.GRANT, who=who)
        dead_letter.close(
            connection, [old.id], kind=LetterKind.REFRESH, resolution=Resolution.RECONNECTED, resolved_by=who
        )
    row = _row(given, old, refresh_token, provider, vault)
    if not consent.insert(connection, known.id, [row]):  # another process was faster
        return StoredConsent(row.id, row.generation, "unchanged", row.ref)
    if given.account is not None:
        account = vault.seal(given.account.text, table="grant_accounts", row_id=row.id, purpose="account")
        grant_account.keep(connection, row.id, account)
    event.of_grants(
        connection, [row.id], EventType.GRANT_CONNECTED if old is None else EventType.GRANT_RECONNECTED, actor=who
    )
    if provider.labels_url is not None:
        asked_labels.request(connection, row.id, known.id, before=None if old is None else old.id)
    if label.tell_refused(connection, {row.id: given.refused_labels} if given.refused_labels else {}):
        log.warning("consent.label_refused", grant_id=str(row.id), refused=dict(given.refused_labels))
    how = "connected" if old is None else "reconnected"
    asks = asks_for_life(provider, given.token_set) and provider.kind is not Kind.EXCHANGE
    return StoredConsent(row.id, row.generation, how, row.ref, asks_for_life=row.due_at if asks else None)


def _row(given: Consent, old: LiveRow | None, refresh_token: str, provider: Provider, vault: Vault) -> NewGrant:
    token_set, grant_id = given.token_set, given.grant_id
    keep = old.keep if old else None
    reckoned = ends(
        token_set,
        provider,
        grant_id=grant_id,
        started_at=given.started_at,
        on_demand=provider.may_rest and (keep or given.registered.known.keep) == Keep.ON_DEMAND,
    )
    for each in reckoned.strange:
        tell_once(given.registered.known.id, provider.name, each)
    due = reckoned.due_at
    if provider.kind is Kind.EXCHANGE and not given.generation:
        due = given.started_at  # a code is exchanged for a token of an hour or two, and that one for the lasting one
    due = max(due, given.started_at + provider.grant_interval)
    return NewGrant(
        id=grant_id,
        ref=given.ref,
        status=GrantStatus.ACTIVE,
        generation=max(given.generation, 0 if old is None else old.generation) + 1,
        labels={**(old.labels if old else {}), **given.labels},
        keep=keep,
        scope=token_set.scope,
        sealed_refresh_token=vault.seal(refresh_token, table="grants", row_id=grant_id, purpose="refresh"),
        sealed_access_token=vault.seal(token_set.access_token, table="grants", row_id=grant_id, purpose="access"),
        refresh_fingerprint=vault.fingerprint(refresh_token),
        access_expires_at=given.started_at + reckoned.life,
        life=reckoned.life,
        due_at=due,
        refresh_expires_at=reckoned.refresh_expires_at,
        consent_expires_at=reckoned.consent_expires_at,
        refreshed_at=given.started_at,
        credentials_no=given.registered.known.credentials_no,
        created_at=given.started_at,
    )
