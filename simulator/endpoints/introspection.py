"""POST /oauth/introspect: whether a token lives (RFC 7662), without using it; of another client's it says no."""

from math import isfinite

from simulator.answers import Answer, error
from simulator.authentication import authenticate
from simulator.call import Call
from simulator.issuer import Issuer
from simulator.traffic import Request


def introspect(issuer: Issuer, call: Call, request: Request, now: float) -> Answer:
    """Say of an access or refresh token of the client that asks whether it is active, and when the first ends."""
    client = authenticate(issuer.clients, call)
    if client is None:
        return error("invalid_client")
    text = call.params.get("token", "")
    refreshed, opened = issuer.ledger.by_refresh_token.get(text), issuer.ledger.by_access_token.get(text)
    pair = refreshed or opened
    alive = pair is not None and (pair.refresh_alive(now) if refreshed else pair.access_alive(now))
    if pair is None or pair.grant.client_id != client.client_id or not alive:
        return Answer(200, "inactive", {"active": False})
    request.ref = pair.grant.ref
    found = {"active": True, "scope": pair.scope, "client_id": client.client_id, "sub": pair.grant.ref}
    found["iat"] = int(pair.issued_at)
    if opened and isfinite(pair.expires_at):
        found["exp"] = int(pair.expires_at)
    return Answer(200, "active", found)
