"""What an access token opens: GET /v2/bookings, /v2/organizations and /oauth/token/info.

Presenting one is a *use*, dead or not.
"""

from typing import Any

from simulator.answers import TEXTS, Answer, dead_token
from simulator.call import Call
from simulator.issuer import Issuer
from simulator.ledger import Pair
from simulator.traffic import Request


def bookings(issuer: Issuer, call: Call, request: Request, now: float) -> Answer:
    """Answer the bookings of one organization: 401 for a dead token, 400 without, 404 for a foreign organization."""
    pair = _present(issuer, call, request)
    if pair is None or not pair.access_alive(now):
        return dead_token(_reason(pair, now))
    if not call.org:
        return _refused(400, "org_missing", "The header X-API-ORG is missing.")
    if call.org not in pair.grant.orgs:
        return _refused(404, "org_foreign", "No such organization.")
    rows = [_booking(pair.grant.ref, call.org, number) for number in (1, 2, 3)]
    return Answer(200, "served", {"data": rows, "meta": {"total": len(rows)}})


def organizations(issuer: Issuer, call: Call, request: Request, now: float) -> Answer:
    """Answer the organizations that the grant serves, as JSON:API lists them; no header chooses one."""
    pair = _present(issuer, call, request)
    if pair is None or not pair.access_alive(now):
        return dead_token(_reason(pair, now))
    rows = [_organization(org) for org in pair.grant.orgs]
    return Answer(200, "served", {"data": rows, "meta": {"total": len(rows)}})


def token_info(issuer: Issuer, call: Call, request: Request, now: float) -> Answer:
    """Answer what an access token is for; it counts as its first use."""
    pair = _present(issuer, call, request)
    if pair is None or not pair.access_alive(now):
        answer = dead_token("unknown")
        answer.outcome = f"token_{_reason(pair, now)}"
        answer.body = {
            "error": "invalid_token",
            "error_description": TEXTS["unknown"],
            "state": "unauthorized",
        }
        return answer
    remaining = None if pair.grant.lifetime is None else max(0, round(pair.expires_at - now))
    body = {
        "resource_owner_id": pair.grant.ref,
        "scope": pair.scope.split(" "),
        "expires_in": remaining,
        "application": {"uid": pair.grant.client_id},
        "created_at": int(pair.issued_at),
    }
    return Answer(200, "served", body)


def _present(issuer: Issuer, call: Call, request: Request) -> Pair | None:
    pair = issuer.ledger.by_access_token.get(call.bearer)
    if pair is not None:
        request.ref = pair.grant.ref
        issuer.ledger.present(pair)
        issuer.rotation.used(pair, request)
    return pair


def _reason(pair: Pair | None, now: float) -> str:
    """Name why a token is dead, revoked before expired, as Doorkeeper does."""
    if pair is None:
        return "unknown"
    return "revoked" if pair.access_ended_at <= now else "expired"


def _refused(status: int, outcome: str, title: str) -> Answer:
    return Answer(status, outcome, {"errors": [{"status": str(status), "title": title}]})


def _organization(org: str) -> dict[str, Any]:
    return {"id": org, "type": "organizations", "attributes": {"name": f"Hotel {org}", "api_org_id": org}}


def _booking(ref: str, org: str, number: int) -> dict[str, Any]:
    return {
        "id": f"{org}-{number}",
        "type": "bookings",
        "attributes": {"name": f"Event {number} of {ref}", "organization_id": org},
    }
