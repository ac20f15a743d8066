"""Connect: lead one user through the code flow (RFC 6749 §4.1, RFC 7636), once, for one ref.

begin           a state and a PKCE verifier, sealed in the database; the URL for the user
read_callback   what the provider sent back with them; its code is exchanged by tasks/code_exchange.py
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from sqlalchemy import Connection

from models import client as clients
from models import connect_request, consent
from models import label as labels_held
from models.connect_request import Beginning
from models.database import transaction
from models.sealing.vault import Vault
from models.ticket import hashed
from tasks.connect_errors import (
    AnotherIssuer,
    NoCallback,
    NoUser,
    RefTooLong,
    StillRevoking,
)
from tasks.oauth import addresses, messages
from tasks.oauth.echoes import repeats
from tasks.oauth.messages import Registration
from tasks.oauth.provider import Provider
from tasks.oauth.shapes import Kind, Reach
from tasks.runtime.registration import Registered, Registrations

LIVES = timedelta(minutes=15)
MOST_TEXT = 200
BY_WEB = "pkce"  # the purpose of a verifier that was sealed without the refresh ring
LONGEST_REF = 255


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
    registration = with_redirect(registered.registration, redirect_uri)
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
        beginning = Beginning(
            grant_id,
            client_id,
            ref,
            hashed(state),
            sealed,
            str(registration.redirect_uri),
            scopes,
            labels,
            LIVES,
            who,
        )
        connect_request.begin(connection, [beginning])
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
    return provider.keep_from_redirect.keys() | kept_after_exchange(provider)


def kept_after_exchange(provider: Provider) -> set[str]:
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


def expect_issuer(callback: Callback, provider: Provider) -> None:
    """Let pass what the client's own server sent, as far as it says so (RFC 9207 §2.4).

    Whose issuer is not known, that one names itself by its own domain: else a server that we were registered at could
    have its users bring it codes of another one, for all come back to one address (RFC 9700 §4.4).

    Raises:
        AnotherIssuer: it is another's, or nobody's where ours always names itself.

    """
    named, ours = callback.issuer, provider.issuer
    if ours is None and named is not None and provider.authorize_url is not None:
        ours = _domain(provider.authorize_url)
        if "{" in ours or _domain(named) == ours:  # labels say which: nobody can tell
            return
    if ours is None or named == ours:
        return
    if named is not None or provider.issuer_in_callback:
        if named is not None and repeats(named, (callback.state, callback.code or "")):
            named = f"<string {len(named)}>"
        raise AnotherIssuer(named, ours)


def _domain(url: str) -> str:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    return ".".join(host.split(".")[-2:])


def registered_of(registrations: Registrations, client_id: int) -> Registered:
    """A client's registration, ready to send with; raises as `Registrations.ready`."""
    with transaction() as connection:
        known = clients.known(connection, [client_id])[client_id]
    return registrations.ready(known)


def with_redirect(registration: Registration, redirect_uri: str | None) -> Registration:
    """A registration whose redirect URI is this one, where there is one."""
    return replace(registration, redirect_uri=redirect_uri or registration.redirect_uri)


def refuse_while_revoking(connection: Connection, provider: Provider, client_id: int, ref: str) -> None:
    """Where one revocation kills everything of a user, a new consent would die with the old one."""
    for error in still_revoking(connection, provider, client_id, [ref]).values():
        raise error


def still_revoking(
    connection: Connection, provider: Provider, client_id: int, refs: Sequence[str]
) -> dict[str, StillRevoking]:
    """Those of these refs whose old consent must have ended first."""
    if provider.revocation is not Reach.GRANT:
        return {}
    second = provider.second_token_set
    names = {ref: [ref] if second is None else [ref, second.ref(ref)] for ref in refs}
    pending = consent.pending_revocations(connection, client_id, [each for both in names.values() for each in both])
    found = {ref: [pending[each] for each in both if each in pending] for ref, both in names.items()}
    return {ref: StillRevoking(min(numbers)) for ref, numbers in found.items() if numbers}


def refuse_long_ref(provider: Provider, ref: str) -> None:
    """Where a consent becomes two grants, there must be room for the ref of the second one."""
    second = provider.second_token_set
    if second is not None and len(second.ref(ref)) > LONGEST_REF:
        raise RefTooLong(second.ref(ref))
