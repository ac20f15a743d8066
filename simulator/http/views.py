"""Views: the ledger and the traffic as JSON. Times are seconds since the epoch; null means "not ended"."""

from collections.abc import Iterable, Mapping
from math import isinf
from typing import Any

from simulator.ledger import Grant, Pair
from simulator.provider import SimulatedProvider
from simulator.traffic import Request

LISTED = 100  # how many lost grants a summary names


def summary(provider: SimulatedProvider, now: float, client_id: str = "") -> dict[str, Any]:
    """Sum up what really happened, of one client or of all."""
    ledger = provider.ledger
    grants = [g for g in ledger.grants.values() if not client_id or g.client_id == client_id]
    lost = [grant for grant in grants if grant.lost(now)]
    return {
        "at": now,
        "profile": str(provider.habits.profile),
        "grants": _counts(grants, lost, now),
        "lost": [_loss(grant) for grant in lost[:LISTED]],
        "refreshes": sum(grant.refreshes for grant in grants),
        "reuse": {
            "tokens_used_twice": ledger.tokens_used_twice,
            "accepted": ledger.reused_accepted,
            "refused": ledger.reused_refused,
        },
        "pairs": {"issued": ledger.pairs_issued, "forgotten": sum(grant.forgotten for grant in grants)},
        "tokens_alive": _tokens_alive(grants, now),
        "requests": _requests(provider, client_id),
    }


def _counts(grants: list[Grant], lost: list[Grant], now: float) -> dict[str, int]:
    revoked = [grant for grant in grants if grant.revoked_at is not None]
    return {
        "total": len(grants),
        "alive": len(grants) - len(lost) - len(revoked),
        "lost": len(lost),
        "revoked": len(revoked),
        "revoked_but_alive": sum(1 for grant in revoked if _living(grant.pairs.values(), now)),
    }


def losses(provider: SimulatedProvider, now: float) -> list[dict[str, Any]]:
    """List every lost grant: when, by which request, and why."""
    return [_loss(grant) for grant in provider.ledger.lost(now)]


def _loss(grant: Grant) -> dict[str, Any]:
    return {
        "ref": grant.ref,
        "client_id": grant.client_id,
        "at": grant.lost_at,
        "request": grant.lost_request,
        "why": grant.lost_why,
    }


def _tokens_alive(grants: list[Grant], now: float) -> dict[str, int]:
    access = [sum(pair.access_alive(now) for pair in grant.pairs.values()) for grant in grants]
    refresh = [sum(pair.refresh_alive(now) for pair in grant.pairs.values()) for grant in grants]
    return {
        "access": sum(access),
        "refresh": sum(refresh),
        "most_access_of_a_grant": max(access, default=0),
        "most_refresh_of_a_grant": max(refresh, default=0),
    }


def _requests(provider: SimulatedProvider, client_id: str) -> dict[str, Any]:
    traffic = provider.traffic
    clients = {
        name: {"total": seen.total, "most_in_60_s": seen.most_in_window}
        for name, seen in traffic.arrivals.items()
        if not client_id or name == client_id
    }
    return {
        "total": traffic.total,
        "most_in_60_s": max((seen["most_in_60_s"] for seen in clients.values()), default=0),
        "by_endpoint": dict(traffic.by_endpoint),
        "by_outcome": dict(traffic.by_outcome),
        "by_client": clients,
    }


def _living(pairs: Iterable[Pair], now: float) -> list[Pair]:
    return [pair for pair in pairs if pair.access_alive(now) or pair.refresh_alive(now)]


def grant_view(grant: Grant, now: float) -> dict[str, Any]:
    """Tell one grant with its chain of pairs; token strings are shown, for they open nothing real."""
    return {
        "ref": grant.ref,
        "client_id": grant.client_id,
        "orgs": list(grant.orgs),
        "opened_at": grant.opened_at,
        "alive": grant.alive(now),
        "lost": _loss(grant) if grant.lost(now) else None,
        "revoked_at": grant.revoked_at,
        "revoked_by": grant.revoked_by or None,
        "refreshes": grant.refreshes,
        "forgotten": grant.forgotten,
        "pairs": [pair_view(pair, now) for pair in grant.pairs.values()],
    }


def pair_view(pair: Pair, now: float) -> dict[str, Any]:
    """Tell one pair: where it came from, what is alive of it, and how the rest ended."""
    return {
        "pair": pair.number,
        "parent": pair.parent,
        "request": pair.request,
        "scope": pair.scope,
        "issued_at": pair.issued_at,
        "access_token": pair.access_token,
        "access_alive": pair.access_alive(now),
        "expires_at": _end(pair.expires_at),
        "access_ended_at": _end(pair.access_ended_at),
        "access_why": pair.access_why or None,
        "used_at": pair.used_at,
        "refresh_token": pair.refresh_token,
        "refresh_alive": pair.refresh_alive(now),
        "refresh_ended_at": _end(pair.refresh_ended_at),
        "refresh_why": pair.refresh_why or None,
        "spent": pair.spent,
        "undelivered": pair.undelivered or None,
    }


def request_view(request: Request) -> dict[str, Any]:
    """Tell one request."""
    return {name: getattr(request, name) for name in Request.__slots__}


def judge(provider: SimulatedProvider, tokens: Mapping[str, Any], now: float) -> dict[str, dict[str, Any]]:
    """Say of each token that a client holds (by ref; access or refresh token) what is alive of its pair."""
    return {ref: _judged(provider, ref, token, now) for ref, token in tokens.items()}


def _judged(provider: SimulatedProvider, ref: str, token: Any, now: float) -> dict[str, Any]:
    ledger = provider.ledger
    pair = ledger.by_access_token.get(token) or ledger.by_refresh_token.get(token)
    if pair is None:
        return {"known": False, "alive": False, "refresh_alive": False}
    holder = next(iter(pair.grant.pairs.values())) if pair.shares_refresh_token else pair
    return {
        "known": True,
        "alive": pair.access_alive(now),
        "refresh_alive": holder.refresh_alive(now),
        "same_ref": pair.grant.ref == ref,
        "pair": pair.number,
        "newest": pair.number == max(pair.grant.pairs),
    }


def _end(value: float) -> float | None:
    return None if isinf(value) else value
