"""Consent replay: a journaled answer becomes a row, where nobody stored it or the commit that did is missing."""

from dataclasses import replace
from uuid import UUID

import structlog
from sqlalchemy import Connection

from models import client as clients
from models import connect_request
from models.sealing.vault import Vault
from tasks.journal import Entry
from tasks.oauth import accounts
from tasks.oauth.kept import from_answer
from tasks.oauth.provider import Provider
from tasks.oauth.token_answer import TokenAnswer, TokenSet, read_token_answer, tokens_of, told_scope
from tasks.policy.kinds import held_of
from tasks.runtime.registration import Registered
from tasks.runtime.runtime import Runtime
from tasks.settling.consent import AnotherAccount, Consent, ConsentError, StoredConsent, dispose, second_of, store

log = structlog.get_logger()


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
