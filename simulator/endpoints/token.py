"""POST /oauth/token: the code exchange and the refresh, in Doorkeeper's order of checks."""

from typing import TYPE_CHECKING, Any

from simulator.answers import Answer, error, missing
from simulator.endpoints import authorization
from simulator.ledger import Pair
from simulator.traffic import Request

if TYPE_CHECKING:
    from simulator.provider import Call, Client, SimulatedProvider

_NO_STORE = {"Cache-Control": "no-store, no-cache"}


def token(provider: "SimulatedProvider", call: "Call", request: Request, now: float) -> Answer:
    """Answer a token request by its grant type."""
    if not provider.habits.basic_and_body and call.basic is not None and "client_secret" in call.params:
        return error("invalid_request", "client authentication must only be provided using one mechanism")
    match call.params.get("grant_type", ""):
        case "refresh_token":
            return _refresh(provider, call, request, now)
        case "authorization_code":
            return _exchange(provider, call, request, now)
        case "":
            return missing("grant_type")
        case _:
            return error("unsupported_grant_type")


def refuse_client(provider: "SimulatedProvider", call: "Call") -> Answer | None:
    """Refuse a client at a server that authenticates it before anything else; None: it may go on."""
    credentials = provider.credentials(call)
    if credentials is None:
        return error("invalid_request", "no client authentication mechanism provided")
    return None if provider.authenticate(credentials) else error("invalid_client")


def _refresh(provider: "SimulatedProvider", call: "Call", request: Request, now: float) -> Answer:
    text = call.params.get("refresh_token", "")
    if not text:
        return missing("refresh_token")
    if provider.habits.client_first and (refusal := refuse_client(provider, call)):
        return refusal
    spent = provider.ledger.by_refresh_token.get(text)
    if spent is None:
        return error("invalid_grant")
    request.ref = spent.grant.ref
    provider.ledger.present(spent)
    refusal = _refuse_refresh(provider, call, spent, request, now)
    return refusal or _grant_refresh(provider, call, spent, request, now)


def _refuse_refresh(
    provider: "SimulatedProvider", call: "Call", spent: Pair, request: Request, now: float
) -> Answer | None:
    """Check in Doorkeeper's order: token live, client, client matches, scope. Only the last two need a living token."""
    credentials = provider.credentials(call)
    client = provider.authenticate(credentials)
    foreign = client is None or client.client_id != spent.grant.client_id
    if provider.habits.scope_tested_first and not _within(call.params.get("scope", ""), spent.scope):
        return error("invalid_scope")
    if not spent.refresh_alive(now):
        if spent.spent and provider.rotation.rotates and not foreign:
            provider.rotation.reused(spent, request)
        return error("invalid_grant")
    if credentials is not None and client is None:
        return error("invalid_client")
    if foreign:
        return error("invalid_grant")
    return None if _within(call.params.get("scope", ""), spent.scope) else error("invalid_scope")


def _grant_refresh(provider: "SimulatedProvider", call: "Call", spent: Pair, request: Request, now: float) -> Answer:
    scope = call.params.get("scope") or spent.scope
    fresh = provider.issue(spent.grant, scope=scope, now=now, parent=spent, request=request.number)
    provider.ledger.spend(spent, rotates=provider.rotation.rotates)
    provider.rotation.refreshed(spent, fresh, request)
    request.consumed, request.issued = spent.number, fresh.number
    return Answer(200, "refreshed", token_set(provider, fresh, now), dict(_NO_STORE))


def _exchange(provider: "SimulatedProvider", call: "Call", request: Request, now: float) -> Answer:
    text = call.params.get("code", "")
    if not text:
        return missing("code")
    code = provider.codes.get(text)
    client = provider.authenticate(provider.credentials(call))
    refusal = _refuse_exchange(call, client, code, now)
    if refusal or code is None:
        if code is not None and code.pair is not None and provider.habits.code_reuse_ends_grant:
            why = f"its code was used again by request {request.number}"
            provider.ledger.end_grant(code.pair.grant, now, why, request.number)
        return refusal or error("invalid_grant")
    pair = code.pair = authorization.redeem(provider, code, request, now)
    request.ref, request.issued = pair.grant.ref, pair.number
    return Answer(200, "exchanged", token_set(provider, pair, now), dict(_NO_STORE))


def _refuse_exchange(
    call: "Call", client: "Client | None", code: "authorization.Code | None", now: float
) -> Answer | None:
    """Check in Doorkeeper's order: parameters, client, code, redirect_uri, verifier."""
    verifier, redirect_uri = call.params.get("code_verifier", ""), call.params.get("redirect_uri", "")
    if code is not None and code.challenge and not verifier:
        return missing("code_verifier")
    if not redirect_uri:
        return missing("redirect_uri")
    if client is None:
        return error("invalid_client")
    if code is None or code.client_id != client.client_id or not code.redeemable(now):
        return error("invalid_grant")
    if redirect_uri != code.redirect_uri or not code.verified_by(verifier):
        return error("invalid_grant")
    return None


def _within(asked: str, granted: str) -> bool:
    """Say whether a scope was granted; Doorkeeper splits at spaces alone, so commas make one unknown name."""
    if any(mark in asked for mark in "\n\r\t"):
        return False
    return set(asked.split(" ")) - {""} <= set(granted.split(" "))


def token_set(provider: "SimulatedProvider", pair: Pair, now: float) -> dict[str, Any]:
    """Write a pair as the token endpoint does: `expires_in` is what *remains*, and absent where nothing expires."""
    habits = provider.habits
    body: dict[str, Any] = {"access_token": pair.access_token, "token_type": "Bearer"}
    if pair.grant.lifetime is not None:
        body["expires_in"] = max(0, round(pair.expires_at - now))
    if not pair.shares_refresh_token or habits.repeats_refresh_token:
        body["refresh_token"] = pair.refresh_token
    body["scope"] = " ".join(sorted(pair.scope.split(" "))) if habits.sorted_scope else pair.scope
    if habits.created_at:
        body["created_at"] = int(pair.issued_at)
    return body
