"""Visits: a customer is sent to the provider, comes back, and a worker exchanges what they brought.

begin      web     state and verifier, sealed with the access ring, for web holds no other; the URL for the browser
come_back  web     what the browser brought is sealed for a worker, and never sent by this process
exchange   worker  tasks/connect.py, once: the use of the code is committed before it is sent
"""

import secrets
from datetime import timedelta
from typing import Final
from uuid import UUID, uuid4

import structlog
from sqlalchemy import Connection

from models import connect_request, installation, operator_actions, visit
from models.database import transaction
from models.sealing.keys import VaultError
from models.sealing.vault import Vault
from models.states.installation import DatabaseState
from models.states.visit import VisitOutcome, VisitReason
from models.ticket import hashed
from models.visit import Guest, Waiting
from settings import Settings
from tasks import connect
from tasks.connect import BY_WEB, LIVES, Callback
from tasks.connect_errors import (
    ClientPaused,
    ConnectError,
    DatabaseUnfit,
    ExchangeNotSent,
    NoUser,
    StateUsed,
    StillRevoking,
)
from tasks.journal import JournalBroken
from tasks.oauth import messages
from tasks.oauth.error_answers import told_word
from tasks.oauth.errors import OAuthError
from tasks.oauth.messages import Registration
from tasks.oauth.provider import Provider
from tasks.oauth.shapes import Kind
from tasks.runtime import registration
from tasks.runtime.runtime import Runtime
from tasks.settling.consent import ConsentError
from tasks.visit_ends import reason_of, write_end

log = structlog.get_logger()

SEALED_AS: Final = "code"
# How a user, or somebody who decides for them, says no (RFC 6749 §4.1.2.1, and OpenID Connect's errors).
DENIALS: Final = frozenset({"access_denied", "consent_required", "interaction_required", "login_required"})
# With a database that is away: no human waits at this process, and the answer is in its journal.
PATIENCE: Final = timedelta(hours=1)
# Nothing was sent, and what is in the way may go: the code is offered to a worker again for as long as it lives.
HELD = (ClientPaused, DatabaseUnfit, ExchangeNotSent, StillRevoking, JournalBroken, VaultError)


def provider_of(guest: Guest, settings: Settings) -> Provider:
    """The provider that a customer is sent to; raises ProviderFileError, UnknownProvider."""
    return registration.resolve(guest.provider, guest.overrides, settings)


def begin(
    connection: Connection,
    vault: Vault,
    guest: Guest,
    provider: Provider,
    *,
    redirect_uri: str,
    environment: str | None,
) -> str:
    """Begin a visit in the caller's transaction; returns where the browser goes.

    Raises:
        MissingSetting: the provider has no authorize URL.
        AddressError: an address needs a label that is not there.
        ConnectError: the ref's old consent must have ended first, the client is paused, its grants have no user, or
            this database is a copy.

    """
    if provider.kind is Kind.CLIENT_CREDENTIALS:
        raise NoUser(guest.client, guest.ref)
    connect.refuse_long_ref(provider, guest.ref)
    labels = connect.with_known(connection, provider, guest.client_id, guest.ref, guest.labels)
    connect.check_labels(provider, labels)
    _refuse_in_vain(connection, provider, guest, environment)
    state, verifier, visit_id = secrets.token_urlsafe(32), messages.code_verifier(secrets.token_bytes(32)), uuid4()
    scopes = guest.scopes or guest.client_scopes
    url = messages.authorize_url(
        Registration(provider, guest.registered_as, "", redirect_uri, tuple(guest.client_scopes)),
        state=state,
        code_challenge=messages.code_challenge(verifier),
        scopes=scopes or None,
        labels=labels,
    )
    connect_request.begin(
        connection,
        grant_id=visit_id,
        client_id=guest.client_id,
        ref=guest.ref,
        state_hash=hashed(state),
        sealed_verifier=vault.seal(verifier, table="connect_requests", row_id=visit_id, purpose=BY_WEB),
        redirect_uri=redirect_uri,
        scopes=scopes,
        labels=labels,
        lives=LIVES,
        who="public listener",
    )
    visit.begin(connection, visit_id, guest.ticket_id)
    return url


def _refuse_in_vain(connection: Connection, provider: Provider, guest: Guest, environment: str | None) -> None:
    """Send nobody to a provider from whom nothing could be taken when they come back."""
    connect.refuse_while_revoking(connection, provider, guest.client_id, guest.ref)
    if operator_actions.is_paused(connection, guest.client_id):
        raise ClientPaused
    if (found := installation.state(connection, environment)) in (DatabaseState.COPIED, DatabaseState.NOT_ADOPTED):
        raise DatabaseUnfit(found)


def come_back(connection: Connection, vault: Vault, visit_id: UUID, callback: Callback, *, query: str) -> None:
    """Keep what a browser brought, `query` its whole query; a refusal ends the visit here, where it says all."""
    if callback.code is None:
        error = told_word(callback.error, (callback.state,))
        connect_request.use(connection, visit_id)
        if callback.error in DENIALS:
            visit.end(connection, visit_id, VisitOutcome.DENIED, None, code=error)
        else:
            visit.end(connection, visit_id, VisitOutcome.FAILED, VisitReason.PROVIDER_ERROR, code=error)
        return
    visit.answer(connection, visit_id, vault.seal(query, table="visits", row_id=visit_id, purpose=SEALED_AS))


def exchange(runtime: Runtime, visit_id: UUID, *, patience: timedelta = PATIENCE) -> None:
    """Exchange what a browser brought; whatever becomes of it stands in the row, for the page that waits.

    `patience`: with a database that is away; then whoever drains the journal stores it.
    """
    with transaction() as connection:
        waiting = visit.waiting(connection, visit_id)
    if waiting is None:
        return
    try:
        stored = connect.finish(
            runtime,
            _callback(runtime, waiting),
            client_id=waiting.client_id,
            ref=waiting.ref,
            who=waiting.created_by,
            patience=patience,
        )
    except StateUsed:  # another worker was faster
        return
    except HELD as error:
        log.warning("visit.held", visit=str(visit_id), ref=waiting.ref, reason=reason_of(error))
        with transaction() as connection:
            visit.hold(connection, visit_id, reason_of(error))
    except (ConnectError, ConsentError, OAuthError) as error:
        log.warning("visit.failed", visit=str(visit_id), ref=waiting.ref, reason=reason_of(error))
        with transaction() as connection:  # what was found before anything was sent is written nowhere yet
            write_end(connection, visit_id, error)
    else:
        log.info("visit.connected", visit=str(visit_id), ref=waiting.ref, how=stored.how)


def _callback(runtime: Runtime, waiting: Waiting) -> Callback:
    query = runtime.vault.open(waiting.sealed_answer, table="visits", row_id=waiting.id, purpose=SEALED_AS)
    registered = connect.registered_of(runtime.registrations, waiting.client_id)
    return connect.read_callback(f"?{query}", code_parameter=registered.provider.code_parameter)
