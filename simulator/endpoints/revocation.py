"""POST /oauth/revoke: a 200 here proves nothing, as at Doorkeeper; which habit did nothing is told in the outcome."""

from typing import TYPE_CHECKING

from simulator.answers import Answer, error, not_yours
from simulator.endpoints.token import refuse_client
from simulator.ledger import Pair
from simulator.traffic import Request

if TYPE_CHECKING:
    from simulator.provider import Call, SimulatedProvider


def revoke(provider: "SimulatedProvider", call: "Call", request: Request, now: float) -> Answer:
    """Revoke a pair, or the grant, by either token; unknown tokens are 200 as well (RFC 7009 §2.2)."""
    if provider.habits.client_first and (refusal := refuse_client(provider, call)):
        return refusal
    client = provider.authenticate(provider.credentials(call))
    if client is None:
        return not_yours()
    text, hint = call.params.get("token", ""), call.params.get("token_type_hint", "")
    pair = _find(provider, text, hint)
    if pair is None:
        return _done(provider, "revocation_found_nothing")
    request.ref = pair.grant.ref
    if pair.grant.client_id != client.client_id:
        return error("invalid_request") if provider.habits.client_first else not_yours()
    return _revoke_pair(provider, pair, request, now, by_refresh_token=text == pair.refresh_token)


def _find(provider: "SimulatedProvider", text: str, hint: str) -> Pair | None:
    """Look the token up; up to Doorkeeper 5.9 the hint `refresh_token` is a filter, not an order."""
    ledger = provider.ledger
    refresh = ledger.by_refresh_token.get(text)
    if hint == "refresh_token" and provider.habits.hint_filters:
        return refresh
    return refresh or ledger.by_access_token.get(text)


def _revoke_pair(
    provider: "SimulatedProvider", pair: Pair, request: Request, now: float, *, by_refresh_token: bool
) -> Answer:
    provider.ledger.present(pair)
    provider.ledger.ask_end(pair.grant, now, "client")
    if by_refresh_token:
        if not pair.refresh_alive(now):
            return _done(provider, "revocation_found_dead")
        if _ignored(provider, pair, now):
            return _done(provider, "revocation_ignored")
        provider.rotation.revoked(pair, request)
    else:
        if not pair.access_alive(now):
            return _done(provider, "revocation_found_dead")
        provider.rotation.access_revoked(pair, request)
    return _done(provider, "revoked")


def _ignored(provider: "SimulatedProvider", pair: Pair, now: float) -> bool:
    """Say whether Doorkeeper before 5.8.1 does nothing: it asks the row whether its access token has expired."""
    return provider.rotation.rotates and not provider.habits.mended_revocation and now > pair.expires_at


def _done(provider: "SimulatedProvider", outcome: str) -> Answer:
    return Answer(200, outcome, None if provider.habits.empty_revocation_body else {})
