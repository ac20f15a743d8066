"""Consent: a new one becomes a row, by one rule for a code flow that just ended and for its replay from a journal.

the pair is another ref's    refused, naming that ref
the pair is the row's own    the row stays (Doorkeeper's `reuse_access_token`)
the ref has a live row       a new row, generation going on; the old one is on its way to the end
otherwise                    a new row
a second token set beside    likewise, as REF/suffix: two grants of one consent, which live on by themselves
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID, uuid5

import structlog
from sqlalchemy import Connection

from models import asked_labels, consent, dead_letter, event, grant_account, label
from models.consent import Holder, LiveRow, NewGrant
from models.errors import Told
from models.sealing.vault import Vault, VaultError
from models.states.client import Keep
from models.states.dead_letter import LetterKind, Resolution
from models.states.event import EventType
from models.states.grant import GrantStatus
from tasks.oauth.accounts import Account
from tasks.oauth.provider import Provider
from tasks.oauth.shapes import Kind, Reach
from tasks.oauth.token_answer import TokenSet
from tasks.policy.ends import ends
from tasks.policy.introspection import asks_for_life
from tasks.policy.kinds import placeholder
from tasks.runtime.registration import Registered
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

    Raises:
        NoRefreshToken: it cannot be kept alive.
        PairHeld: another ref holds the pair.
        AnotherAccount: its user must come back with the account as before, and has not.

    """
    (stored,) = store_all(connection, [given], vault=vault, who=who, replayed=replayed)
    if isinstance(stored, ConsentError):
        raise stored
    return stored


def store_all(
    connection: Connection, given: Sequence[Consent], *, vault: Vault, who: str, replayed: bool = False
) -> list[StoredConsent | ConsentError]:
    """Store consents of one client, of which no two are of one ref or hold one pair; of each, what `store` tells.

    A second token set of one becomes a grant of its own, in the same transaction. Nothing of a consent is written
    before it is known that both may come in.
    """
    families = [grants_of(each) for each in given]
    every = [each for family in families for each in family]
    client_id = given[0].registered.known.id
    rows = consent.live_rows(connection, client_id, [each.ref for each in every])
    held = _held(connection, every, vault)
    wrong = [_fault(connection, family, rows, held, vault) for family in families]
    fit = [each for family, error in zip(families, wrong, strict=True) if error is None for each in family]
    stored = _store(connection, fit, rows, vault=vault, who=who, replayed=replayed)
    return [
        _with_second([stored[each.grant_id] for each in family]) if error is None else error
        for family, error in zip(families, wrong, strict=True)
    ]


def grants_of(given: Consent) -> list[Consent]:
    """What a consent becomes: one grant, or two."""
    given = _with_placeholder(given)
    return [given, *filter(None, [second_of(given)])]


def _with_second(stored: Sequence[StoredConsent]) -> StoredConsent:
    first, *second = stored
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


def _held(connection: Connection, given: Sequence[Consent], vault: Vault) -> dict[bytes, list[Holder]]:
    """Who holds the pairs of these consents, by fingerprint."""
    found: dict[bytes, list[Holder]] = {}
    fingerprints = [each for one in given for each in _fingerprints(one, vault)]
    for holder in consent.holders(connection, fingerprints) if fingerprints else ():
        found.setdefault(bytes(holder.fingerprint), []).append(holder)
    return found


def _fingerprints(given: Consent, vault: Vault) -> list[bytes]:
    token = given.token_set.refresh_token
    return [] if token is None else vault.fingerprints(token)


def _fault(
    connection: Connection,
    family: Sequence[Consent],
    rows: Mapping[str, LiveRow],
    held: Mapping[bytes, Sequence[Holder]],
    vault: Vault,
) -> ConsentError | None:
    """What is wrong with a consent, if anything is."""
    for each in family:
        if each.token_set.refresh_token is None:
            return NoRefreshToken()
        for holder in (holder for mark in _fingerprints(each, vault) for holder in held.get(mark, ())):
            if (holder.client_id, holder.ref) != (each.registered.known.id, each.ref):
                return PairHeld(holder.ref, holder.client)
    given = family[0]
    is_another = _is_of_another_account(connection, given, rows.get(given.ref), vault)
    return AnotherAccount(given.ref) if is_another else None


def _is_of_another_account(connection: Connection, given: Consent, old: LiveRow | None, vault: Vault) -> bool:
    """Compare whose account it is with whose it was, where both were told in one place."""
    if given.other_account_allowed or given.account is None or old is None or old.id == given.grant_id:
        return False
    before = grant_account.of(connection, old.id)
    if before is None:
        return False
    try:
        known = Account.read(vault.open(before, table="grant_accounts", row_id=old.id, purpose="account"))
    except VaultError as error:
        log.warning("consent.account_unopened", grant_id=str(old.id), reason=str(error))
        return False
    return known.is_another(given.account)


def dispose(connection: Connection, given: Consent, *, vault: Vault, who: str) -> None:
    """Send what was refused to its end: it is nobody's grant, and its pairs live at the provider."""
    for each in (given, *filter(None, [second_of(given)])):
        if each.token_set.refresh_token is not None and not consent.existing(connection, [each.grant_id]):
            _replaced_row(connection, each, vault=vault, who=who)


def _store(
    connection: Connection,
    given: Sequence[Consent],
    rows: Mapping[str, LiveRow],
    *,
    vault: Vault,
    who: str,
    replayed: bool,
) -> dict[UUID, StoredConsent]:
    """Store the grants of consents, by id; `rows`: those that hold their refs now."""
    stored: dict[UUID, StoredConsent] = {}
    new: list[Consent] = []
    present = consent.existing(connection, [each.grant_id for each in given]) if given else set()
    for each in given:
        old = rows.get(each.ref)
        if old is not None and (old.refresh_fingerprint in _fingerprints(each, vault) or old.id == each.grant_id):
            stored[each.grant_id] = StoredConsent(old.id, old.generation, "unchanged", each.ref)
        elif each.grant_id in present:
            stored[each.grant_id] = StoredConsent(each.grant_id, 0, "unchanged", each.ref)
        elif replayed and old is not None and _was_replaced_by(old, each):
            stored[each.grant_id] = _replaced_row(connection, each, vault=vault, who=who)
        else:
            new.append(each)
    return stored | _new_rows(connection, new, rows, vault=vault, who=who)


def _was_replaced_by(other: LiveRow, given: Consent) -> bool:
    """Whether `other` is the newer consent: generations go on from one consent of a ref to the next."""
    return other.created_at > given.started_at or 0 < given.generation <= other.generation


def _replaced_row(connection: Connection, given: Consent, *, vault: Vault, who: str) -> StoredConsent:
    """Make the row of a consent that was replaced: its pairs must die, if their end is not noted anyway."""
    provider = given.registered.provider
    row = replace(_row(given, None, vault), status=GrantStatus.REVOKING)
    consent.insert(connection, given.registered.known.id, [row])
    consent.retire(connection, row.id, at_once=provider.revocation is not Reach.GRANT, who=who)
    return StoredConsent(row.id, row.generation, "replaced", row.ref)


def _new_rows(
    connection: Connection, given: Sequence[Consent], rows: Mapping[str, LiveRow], *, vault: Vault, who: str
) -> dict[UUID, StoredConsent]:
    """Make rows, each in the place of the one that holds its ref now, where there is one."""
    if not given:
        return {}
    for each in given:
        if (old := rows.get(each.ref)) is not None:
            _retire(connection, old, each.registered.provider, who)
    new = {each.grant_id: _row(each, rows.get(each.ref), vault) for each in given}
    made = consent.insert(connection, given[0].registered.known.id, list(new.values()))
    here = [each for each in given if each.grant_id in made]  # for the others another process was faster
    _keep_accounts(connection, here, vault)
    for is_new, type_ in ((True, EventType.GRANT_CONNECTED), (False, EventType.GRANT_RECONNECTED)):
        ids = [each.grant_id for each in here if (each.ref not in rows) is is_new]
        event.of_grants(connection, ids, type_, actor=who)
    for each in here:
        _ask_for_labels(connection, each, rows.get(each.ref))
    _tell_refused_labels(connection, here)
    return {each.grant_id: _told(each, new[each.grant_id], rows, is_made=each.grant_id in made) for each in given}


def _told(given: Consent, row: NewGrant, rows: Mapping[str, LiveRow], *, is_made: bool) -> StoredConsent:
    if not is_made:
        return StoredConsent(row.id, row.generation, "unchanged", row.ref)
    provider = given.registered.provider
    asks = asks_for_life(provider, given.token_set) and provider.kind is not Kind.EXCHANGE
    how = "reconnected" if row.ref in rows else "connected"
    return StoredConsent(row.id, row.generation, how, row.ref, asks_for_life=row.due_at if asks else None)


def _retire(connection: Connection, old: LiveRow, provider: Provider, who: str) -> None:
    consent.retire(connection, old.id, at_once=provider.revocation is not Reach.GRANT, who=who)
    dead_letter.close(connection, [old.id], kind=LetterKind.REFRESH, resolution=Resolution.RECONNECTED, resolved_by=who)


def _keep_accounts(connection: Connection, given: Sequence[Consent], vault: Vault) -> None:
    for each in given:
        if each.account is not None:
            sealed = vault.seal(each.account.text, table="grant_accounts", row_id=each.grant_id, purpose="account")
            grant_account.keep(connection, each.grant_id, sealed)


def _ask_for_labels(connection: Connection, given: Consent, old: LiveRow | None) -> None:
    known, provider = given.registered.known, given.registered.provider
    if provider.labels_url is not None:
        asked_labels.request(connection, given.grant_id, known.id, before=None if old is None else old.id)


def _tell_refused_labels(connection: Connection, given: Sequence[Consent]) -> None:
    refused = {each.grant_id: each.refused_labels for each in given if each.refused_labels}
    for grant_id in label.tell_refused(connection, refused):
        log.warning("consent.label_refused", grant_id=str(grant_id), refused=dict(refused[grant_id]))


def _row(given: Consent, old: LiveRow | None, vault: Vault) -> NewGrant:
    token_set, grant_id, provider = given.token_set, given.grant_id, given.registered.provider
    refresh_token = token_set.refresh_token or ""
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
