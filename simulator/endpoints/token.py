"""POST /oauth/token: the code exchange and the refresh, in Doorkeeper's order of checks."""

from simulator.answers import Answer, error, invalid_client, missing, refused
from simulator.authentication import authenticate, refuse_client
from simulator.authorization_code import Code
from simulator.call import Call
from simulator.client import Client
from simulator.habits import Habits
from simulator.issuer import Issuer
from simulator.ledger import Grant, Pair
from simulator.token_set import token_set
from simulator.traffic import Request

_NO_STORE = {"Cache-Control": "no-store, no-cache"}


def token(issuer: Issuer, call: Call, request: Request, now: float) -> Answer:
    """Answer a token request by its grant type."""
    if not issuer.habits.basic_and_body and call.basic is not None and "client_secret" in call.params:
        return error("invalid_request", "client authentication must only be provided using one mechanism")
    grant_type = call.params.get("grant_type", "")
    if not grant_type:
        return missing("grant_type")
    ways = {
        "refresh_token": _refresh,
        "authorization_code": _exchange,
        "client_credentials": _client_credentials,
        **({"fb_exchange_token": _exchange_access_token} if issuer.habits.exchanges_access_tokens else {}),
    }
    way = ways.get(grant_type)
    return error("unsupported_grant_type") if way is None else way(issuer, call, request, now)


def _refresh(issuer: Issuer, call: Call, request: Request, now: float) -> Answer:
    text = call.params.get("refresh_token", "")
    if not text:
        return missing("refresh_token")
    if issuer.habits.client_first and (refusal := refuse_client(issuer.clients, call, issuer.habits)):
        return refusal
    spent = issuer.ledger.by_refresh_token.get(text)
    if spent is None:
        return refused(issuer.habits.says_dead)
    request.ref = spent.grant.ref
    issuer.ledger.present(spent)
    refusal = _refuse_refresh(issuer, call, spent, request, now)
    return refusal or _grant_refresh(issuer, call, spent, request, now)


def _refuse_refresh(issuer: Issuer, call: Call, spent: Pair, request: Request, now: float) -> Answer | None:
    """Check in Doorkeeper's order: token live, client, client matches, scope. Only the last two need a living token."""
    client = authenticate(issuer.clients, call)
    foreign = client is None or client.client_id != spent.grant.client_id
    if issuer.habits.scope_tested_first and not _within(call.params.get("scope", ""), spent.scope):
        return error("invalid_scope")
    if not spent.refresh_alive(now):
        if spent.spent and issuer.rotation.rotates and not foreign:
            issuer.rotation.reused(spent, request)
        return refused(issuer.habits.says_dead)
    if call.credentials is not None and client is None:
        return invalid_client(issuer.habits.says_wrong_client)
    if foreign:
        return error("invalid_grant")
    return None if _within(call.params.get("scope", ""), spent.scope) else error("invalid_scope")


def _grant_refresh(issuer: Issuer, call: Call, spent: Pair, request: Request, now: float) -> Answer:
    scope = call.params.get("scope") or spent.scope
    fresh = issuer.issue(spent.grant, scope=scope, now=now, parent=spent, request=request.number)
    issuer.ledger.spend(spent, rotates=issuer.rotation.rotates)
    issuer.rotation.refreshed(spent, fresh, request)
    request.consumed, request.issued = spent.number, fresh.number
    return Answer(200, "refreshed", token_set(issuer.habits, fresh, now), dict(_NO_STORE))


def _client_credentials(issuer: Issuer, call: Call, request: Request, now: float) -> Answer:
    """Answer a token set without a refresh token for the client alone (RFC 6749 §4.4); its ref is `app:CLIENT_ID`."""
    client = authenticate(issuer.clients, call)
    if client is None:
        return error("invalid_client")
    scope = call.params.get("scope", "") or " ".join(client.scopes)
    if not _within(scope, " ".join(client.scopes)):
        return error("invalid_scope")
    ref = f"app:{client.client_id}"
    living = [grant for grant in issuer.ledger.by_ref.get(ref, ()) if grant.revoked_at is None]
    grant = living[-1] if living else _open(issuer, ref, client, now)
    pair = issuer.issue(grant, scope=scope, now=now, request=request.number)
    pair.tells_refresh_token = False
    request.ref, request.issued = grant.ref, pair.number
    return Answer(200, "issued", token_set(issuer.habits, pair, now), dict(_NO_STORE))


def _open(issuer: Issuer, ref: str, client: Client, now: float) -> Grant:
    return issuer.ledger.open_grant(
        ref=ref, client_id=client.client_id, orgs=issuer.default_orgs, lifetime=issuer.lifetime_seconds, now=now
    )


def _exchange_access_token(issuer: Issuer, call: Call, request: Request, now: float) -> Answer:
    """Answer a new access token for one that lives; a dead one is told as Meta tells it, and no request helps it."""
    spent = issuer.ledger.by_access_token.get(call.params.get("fb_exchange_token", ""))
    client = authenticate(issuer.clients, call)
    if client is None:
        return error("invalid_client")
    if spent is not None:
        request.ref = spent.grant.ref
    if spent is None or spent.grant.client_id != client.client_id or not spent.access_alive(now):
        told = {"message": "Error validating access token: Session has expired.", "type": "OAuthException", "code": 190}
        return Answer(400, "access_token_dead", {"error": told})
    fresh = issuer.issue(spent.grant, scope=spent.scope, now=now, request=request.number)
    fresh.tells_refresh_token = False
    request.consumed, request.issued = spent.number, fresh.number
    return Answer(200, "refreshed", token_set(issuer.habits, fresh, now), dict(_NO_STORE))


def _exchange(issuer: Issuer, call: Call, request: Request, now: float) -> Answer:
    text = call.params.get("code", "")
    if not text:
        return missing("code")
    code = issuer.codes.get(text)
    client = authenticate(issuer.clients, call)
    refusal = _refuse_exchange(issuer.habits, call, client, code, now)
    if refusal or code is None:
        if code is not None and code.pair is not None and issuer.habits.code_reuse_ends_grant:
            why = f"its code was used again by request {request.number}"
            issuer.ledger.end_grant(code.pair.grant, now, why, request.number)
        return refusal or error("invalid_grant")
    pair = code.pair = _redeem(issuer, code, request, now)
    pair.tells_refresh_token = not issuer.habits.exchanges_access_tokens
    request.ref, request.issued = pair.grant.ref, pair.number
    return Answer(200, "exchanged", token_set(issuer.habits, pair, now), dict(_NO_STORE))


def _refuse_exchange(habits: Habits, call: Call, client: Client | None, code: Code | None, now: float) -> Answer | None:
    """Check in Doorkeeper's order: parameters, client, code, redirect_uri, verifier."""
    verifier, redirect_uri = call.params.get("code_verifier", ""), call.params.get("redirect_uri", "")
    if code is not None and code.challenge and not verifier:
        return missing("code_verifier")
    if not redirect_uri:
        return missing("redirect_uri")
    if client is None:
        return invalid_client(habits.says_wrong_client)
    if code is None or code.client_id != client.client_id or not code.redeemable(now):
        return error("invalid_grant")
    if redirect_uri != code.redirect_uri or not code.verified_by(verifier):
        return error("invalid_grant")
    return None


def _redeem(issuer: Issuer, code: Code, request: Request, now: float) -> Pair:
    """Turn a code into a pair: a new grant's first one, or the living one where the habit says so."""
    code.spent = True
    if issuer.habits.reuse_access_token and (pair := _living_pair(issuer, code, now)):
        return pair
    grant = issuer.ledger.open_grant(
        ref=code.user,
        client_id=code.client_id,
        orgs=code.orgs or issuer.default_orgs,
        lifetime=issuer.lifetime_seconds,
        now=now,
    )
    return issuer.issue(grant, scope=code.scope, now=now, request=request.number)


def _living_pair(issuer: Issuer, code: Code, now: float) -> Pair | None:
    pairs = [
        pair
        for grant in issuer.ledger.by_ref.get(code.user, ())
        if grant.client_id == code.client_id
        for pair in grant.pairs.values()
        if pair.access_alive(now) and set(pair.scope.split()) == set(code.scope.split())
    ]
    return max(pairs, key=lambda pair: pair.number, default=None)


def _within(asked: str, granted: str) -> bool:
    """Say whether a scope was granted; Doorkeeper splits at spaces alone, so commas make one unknown name."""
    if any(mark in asked for mark in "\n\r\t"):
        return False
    return set(asked.split(" ")) - {""} <= set(granted.split(" "))
