"""POST /oauth/revoke: a 200 here proves nothing, as at Doorkeeper; which habit did nothing is told in the outcome."""

from simulator.answers import Answer, error, not_yours
from simulator.authentication import authenticate, refuse_client
from simulator.call import Call
from simulator.issuer import Issuer
from simulator.ledger import Pair
from simulator.traffic import Request


def revoke(issuer: Issuer, call: Call, request: Request, now: float) -> Answer:
    """Revoke a pair, or the grant, by either token; unknown tokens are 200 as well (RFC 7009 §2.2)."""
    if issuer.habits.client_first and (refusal := refuse_client(issuer.clients, call, issuer.habits)):
        return refusal
    client = authenticate(issuer.clients, call)
    if client is None:
        return not_yours()
    text, hint = call.params.get("token", ""), call.params.get("token_type_hint", "")
    pair = _find(issuer, text, hint)
    if pair is None:
        return _done(issuer, "revocation_found_nothing")
    request.ref = pair.grant.ref
    if pair.grant.client_id != client.client_id:
        return error("invalid_request") if issuer.habits.client_first else not_yours()
    return _revoke_pair(issuer, pair, request, now, by_refresh_token=text == pair.refresh_token)


def _find(issuer: Issuer, text: str, hint: str) -> Pair | None:
    """Look the token up; up to Doorkeeper 5.9 the hint `refresh_token` is a filter, not an order."""
    ledger = issuer.ledger
    refresh = ledger.by_refresh_token.get(text)
    if hint == "refresh_token" and issuer.habits.hint_filters:
        return refresh
    return refresh or ledger.by_access_token.get(text)


def _revoke_pair(issuer: Issuer, pair: Pair, request: Request, now: float, *, by_refresh_token: bool) -> Answer:
    issuer.ledger.present(pair)
    issuer.ledger.ask_end(pair.grant, now, "client")
    if by_refresh_token:
        if not pair.refresh_alive(now):
            return _done(issuer, "revocation_found_dead")
        if _ignored(issuer, pair, now):
            return _done(issuer, "revocation_ignored")
        issuer.rotation.revoked(pair, request)
    else:
        if not pair.access_alive(now):
            return _done(issuer, "revocation_found_dead")
        issuer.rotation.access_revoked(pair, request)
    return _done(issuer, "revoked")


def _ignored(issuer: Issuer, pair: Pair, now: float) -> bool:
    """Say whether Doorkeeper before 5.8.1 does nothing: it asks the row whether its access token has expired."""
    return issuer.rotation.rotates and not issuer.habits.mended_revocation and now > pair.expires_at


def _done(issuer: Issuer, outcome: str) -> Answer:
    return Answer(200, outcome, None if issuer.habits.empty_revocation_body else {})
