"""Consent: a new one becomes a row, by one rule for a code flow that just ended and for its replay from a journal.

the pair is another ref's    refused, naming that ref
the pair is the row's own    the row stays (Doorkeeper's `reuse_access_token`)
the ref has a live row       a new row, generation going on; the old one is on its way to the end
otherwise                    a new row
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import Connection

from models import client as clients
from models import consent, dead_letter, event
from models.consent import LiveRow, NewGrant
from models.errors import Told
from models.sealing.vault import Vault
from models.states.client import Keep
from models.states.dead_letter import LetterKind, Resolution
from models.states.event import EventType
from models.states.grant import GrantStatus
from tasks.journal import Entry
from tasks.oauth.messages import TokenSet, read_token_answer
from tasks.oauth.provider import Provider
from tasks.oauth.shapes import Kind, Reach
from tasks.policy import timing
from tasks.policy.kinds import held_of, placeholder
from tasks.runtime.registration import Registered
from tasks.runtime.runtime import Runtime

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
    generation: int = 0  # that was asked from: more than 0 only where a replay meets a refresh before its exchange


@dataclass(frozen=True, slots=True)
class StoredConsent:
    """What a consent became; `how`: connected, reconnected, unchanged, or replaced by a newer one."""

    grant_id: UUID
    generation: int
    how: str


def store(connection: Connection, given: Consent, *, vault: Vault, who: str, replayed: bool = False) -> StoredConsent:
    """Store a consent; repeating it changes nothing. `replayed`: it is an old one, perhaps older than what is there.

    Raises:
        NoRefreshToken: it cannot be kept alive.
        PairHeld: another ref holds the pair.

    """
    token = given.token_set.refresh_token
    if given.registered.provider.kind is Kind.CLIENT_CREDENTIALS:
        token = placeholder(given.grant_id)
    if token is None:
        raise NoRefreshToken
    client_id = given.registered.known.id
    old = consent.live_rows(connection, client_id, [given.ref]).get(given.ref)
    fingerprints = vault.fingerprints(token)
    for holder in consent.holders(connection, fingerprints):
        if (holder.client_id, holder.ref) != (client_id, given.ref):
            raise PairHeld(holder.ref, holder.client)
    if old is not None and (old.refresh_fingerprint in fingerprints or old.id == given.grant_id):
        return StoredConsent(old.id, old.generation, "unchanged")
    if consent.exists(connection, given.grant_id):
        return StoredConsent(given.grant_id, 0, "unchanged")
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
    return StoredConsent(row.id, row.generation, "replaced")


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


def replay(connection: Connection, entry: Entry, registered: Registered, *, vault: Vault) -> StoredConsent | None:
    """Store the consent that a journaled answer tells of; None where it holds no token set that can be kept.

    It may be the answer to an exchange that nobody stored, or to any request for a row whose making is among the
    commits that are missing. Journals come in any order: a consent that was replaced since is on its way to the end.
    An entry whose pair another ref holds, or that has no refresh token, was refused to the user's face already.
    """
    token_set = read_token_answer(entry.body)
    if not isinstance(token_set, TokenSet):
        return None
    given = Consent(
        UUID(entry.grant_id),
        registered,
        entry.ref,
        entry.labels,
        held_of(token_set, registered.provider.kind),
        started_at=entry.started_at,
        generation=entry.generation,
    )
    try:
        return store(connection, given, vault=vault, who="evergrant", replayed=True)
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
        return StoredConsent(row.id, row.generation, "unchanged")
    event.of_grants(
        connection, [row.id], EventType.GRANT_CONNECTED if old is None else EventType.GRANT_RECONNECTED, actor=who
    )
    return StoredConsent(row.id, row.generation, "connected" if old is None else "reconnected")


def _row(given: Consent, old: LiveRow | None, refresh_token: str, provider: Provider, vault: Vault) -> NewGrant:
    token_set, grant_id = given.token_set, given.grant_id
    life = timing.life(token_set.expires_in, default=timedelta(seconds=provider.default_life_seconds))
    keep = old.keep if old else None
    due = timing.next_due(
        given.started_at,
        life,
        grant_id,
        on_demand=provider.may_rest and (keep or given.registered.known.keep) == Keep.ON_DEMAND,
        idle_days=provider.idle_refresh_days,
    )
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
        access_expires_at=given.started_at + life,
        life=life,
        due_at=due,
        refreshed_at=given.started_at,
        credentials_no=given.registered.known.credentials_no,
        created_at=given.started_at,
    )
