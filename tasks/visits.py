"""Visits: a customer is sent to the provider, and comes back; what web does of it.

begin      state and verifier, sealed with the access ring, for web holds no other; the URL for the browser
come_back  what the browser brought is sealed for a worker (tasks/exchange.py), and never sent by this process
"""

import secrets
from typing import Final
from uuid import UUID, uuid4

import structlog
from sqlalchemy import Connection

from models import connect_request, installation, operator_actions, visit
from models.sealing.vault import Vault
from models.states.installation import DatabaseState
from models.states.visit import VisitOutcome, VisitReason
from models.ticket import hashed
from models.visit import Guest
from settings import Settings
from tasks import connect
from tasks.connect import BY_WEB, LIVES, Callback
from tasks.connect_errors import (
    ClientPaused,
    DatabaseUnfit,
    NoUser,
)
from tasks.oauth import messages
from tasks.oauth.error_answers import told_word
from tasks.oauth.messages import Registration
from tasks.oauth.provider import Provider
from tasks.oauth.shapes import Kind
from tasks.runtime import registration

log = structlog.get_logger()

SEALED_AS: Final = "code"
# How a user, or somebody who decides for them, says no (RFC 6749 §4.1.2.1, and OpenID Connect's errors).
DENIALS: Final = frozenset({"access_denied", "consent_required", "interaction_required", "login_required"})


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
