"""Visits: a customer is sent to the provider, and comes back; what web does of it.

begin      state and verifier, sealed with the access ring, for web holds no other; the URL for the browser
come_back  what the browser brought is sealed for a worker (tasks/exchange.py), and never sent by this process
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from uuid import UUID, uuid4

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from models import connect_request, installation, operator_actions, visit
from models import ticket as tickets
from models.connect_request import Beginning
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


@dataclass(frozen=True, slots=True, eq=False)
class Leaving:
    """A customer on the way to the provider: who they are, and the hash of their browser's secret."""

    guest: Guest
    provider: Provider
    browser_hash: bytes = field(repr=False)

    @property
    def came(self) -> tuple[UUID, bytes]:
        """The ticket that they came with, and the browser."""
        return self.guest.ticket_id, self.browser_hash


class Way(NamedTuple):
    """Where the browser goes, and the code flow that begins with it."""

    url: str
    beginning: Beginning


def begin(
    connection: Connection, vault: Vault, leaving: Sequence[Leaving], *, redirect_uri: str, environment: str | None
) -> dict[Leaving, str | Exception | None]:
    """Begin visits in the caller's transaction; returns where each browser goes, None where its ticket is good no more.

    Of whom nobody can be sent there it returns why, and their tickets are as good as before:

        MissingSetting: the provider has no authorize URL.
        AddressError: an address needs a label that is not there.
        ConnectError: the ref's old consent must have ended first, the client is paused, its grants have no user, or
            this database is a copy.

    """
    told: dict[Leaving, str | Exception | None] = {}
    ways: dict[Leaving, Way] = {}
    state = installation.state(connection, environment)
    paused = {each: operator_actions.is_paused(connection, each) for each in {each.guest.client_id for each in leaving}}
    for each in leaving:
        try:
            labels = _labels(connection, each)
            _refuse_in_vain(connection, each, is_paused=paused[each.guest.client_id], state=state)
            ways[each] = _way(vault, each, labels, redirect_uri)
        except DBAPIError:
            raise
        except Exception as error:  # noqa: BLE001  # it is raised where it was asked
            told[each] = error
    used = tickets.use(connection, [each.came for each in ways]) if ways else set()
    begun = {each: way.beginning for each, way in ways.items() if each.came in used}
    if begun:
        connect_request.begin(connection, list(begun.values()))
        visit.begin(connection, [(way.grant_id, each.guest.ticket_id) for each, way in begun.items()])
    return told | {each: way.url if each in begun else None for each, way in ways.items()}


def _labels(connection: Connection, leaving: Leaving) -> dict[str, list[str]]:
    guest, provider = leaving.guest, leaving.provider
    if provider.kind is Kind.CLIENT_CREDENTIALS:
        raise NoUser(guest.client, guest.ref)
    connect.refuse_long_ref(provider, guest.ref)
    labels = connect.with_known(connection, provider, guest.client_id, guest.ref, guest.labels)
    connect.check_labels(provider, labels)
    return labels


def _refuse_in_vain(connection: Connection, leaving: Leaving, *, is_paused: bool, state: str) -> None:
    """Send nobody to a provider from whom nothing could be taken when they come back."""
    connect.refuse_while_revoking(connection, leaving.provider, leaving.guest.client_id, leaving.guest.ref)
    if is_paused:
        raise ClientPaused
    if state in (DatabaseState.COPIED, DatabaseState.NOT_ADOPTED):
        raise DatabaseUnfit(state)


def _way(vault: Vault, leaving: Leaving, labels: dict[str, list[str]], redirect_uri: str) -> Way:
    guest, provider = leaving.guest, leaving.provider
    state, verifier, visit_id = secrets.token_urlsafe(32), messages.code_verifier(secrets.token_bytes(32)), uuid4()
    scopes = guest.scopes or guest.client_scopes
    url = messages.authorize_url(
        Registration(provider, guest.registered_as, "", redirect_uri, tuple(guest.client_scopes)),
        state=state,
        code_challenge=messages.code_challenge(verifier),
        scopes=scopes or None,
        labels=labels,
    )
    beginning = Beginning(
        visit_id,
        guest.client_id,
        guest.ref,
        hashed(state),
        vault.seal(verifier, table="connect_requests", row_id=visit_id, purpose=BY_WEB),
        redirect_uri,
        scopes,
        labels,
        LIVES,
        "public listener",
    )
    return Way(url, beginning)


def sealed(vault: Vault, visit_id: UUID, query: str) -> bytes:
    """What a browser brought, its whole query, as a worker opens it."""
    return vault.seal(query, table="visits", row_id=visit_id, purpose=SEALED_AS)


def come_back(connection: Connection, brought: Sequence[tuple[UUID, bytes]]) -> dict[tuple[UUID, bytes], None]:
    """Keep what browsers brought to their visits, sealed; of two answers to one visit the first counts."""
    first: dict[UUID, bytes] = {}
    for visit_id, answer in brought:
        first.setdefault(visit_id, answer)
    visit.answer(connection, first)
    return dict.fromkeys(brought)


def refused(connection: Connection, visit_id: UUID, callback: Callback) -> None:
    """End the visit of whoever came back with a refusal, which says all."""
    error = told_word(callback.error, (callback.state,))
    connect_request.use(connection, [visit_id])
    if callback.error in DENIALS:
        visit.end(connection, visit_id, VisitOutcome.DENIED, None, code=error)
    else:
        visit.end(connection, visit_id, VisitOutcome.FAILED, VisitReason.PROVIDER_ERROR, code=error)
