"""How a client is shown: its registration, its endpoints, its valve."""

from typing import TYPE_CHECKING, Any

from models.states.client import ClientState
from worker.cli.clients.drift import drift_of
from worker.cli.units import rate

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

    from settings import Settings


def record_of(row: "RowMapping") -> dict[str, Any]:
    """A client as JSON and tables show it."""
    what, reason = state(row)
    return {
        "name": row["name"],
        "provider": row["provider"],
        "client_id": row["client_id"],
        "has_secret": row["has_secret"],
        "former_secret_at": row["former_secret_at"],
        "secret_refused_at": row["secret_refused_at"],
        "secret_refused_code": row["secret_refused_code"],
        "redirect_uri": row["redirect_uri"],
        "scopes": row["scopes"],
        "return_to": row["return_to"],
        "return_to_urls": row["return_to_urls"],
        "title": row["title"],
        "logo_url": row["logo_url"],
        "colour": row["colour"],
        "keep": row["keep"],
        "rotation": row["rotation"],
        "drift": drift_of(row["drift"]),
        "rate": rate(row["rate_per_minute"]),
        "burst": row["burst"],
        "pace": pace(row),
        "pace_reason": row["slowed_code"] if row["slowed_by"] else None,
        "grants": row["grants"],
        "state": what,
        "reason": reason,
        "paused_until": row["paused_until"],
        "deaths_held_at": row["deaths_held_at"],
        "requests_left": row["remaining"],
        "requests_left_at": row["remaining_at"],
        "half_pace_until": row["scarce_until"],
        "revocation_limit": row["revocation_limit"],
        "revocations_held": row["revocations_held"],
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
    }


def state(row: "RowMapping") -> tuple[str, str | None]:
    """What the valve lets through, and why not more."""
    if row["paused_by_operator"]:
        return ClientState.PAUSED, "by an operator"
    if row["paused_until"] is not None:
        return ClientState.SHUT, row["pause_reason"]
    if row["deaths_held_at"] is not None:
        return ClientState.HOLDING, "unusually many grants were refused: see `clients accept-deaths`"
    return ClientState.OPEN, None


def told_of_woken(count: int) -> str:
    """Who waited for just what was done, after the sentence that tells of it."""
    if not count:
        return ""
    return f" {count} {'grant that failed is' if count == 1 else 'grants that failed are'} asked at once."


def pace(row: "RowMapping") -> str | None:
    """How slowly it goes, where that is less than its rate; None: as ever."""
    from tasks.policy.pace import Pace, allowed

    slow = allowed(Pace(slowed_by=row["slowed_by"] or 0, slowed_from=row["slowed_from"]))
    return None if slow is None else rate(round(slow, 1))


def endpoints(row: "RowMapping", settings: "Settings") -> dict[str, Any]:
    """Where a client's requests go and how they are written: its provider's file, and what was said differently."""
    from tasks.runtime.registration import resolve

    resolved = resolve(row["provider"], row["overrides"], settings)
    names = ("authorize_url", "token_url", "refresh_url", "introspect_url", "revoke_url", "api_url", "confirm_url")
    found = {name: getattr(resolved, name) for name in (*names, "issuer", "kind", "body", "auth", "pkce")}
    return found | {"hosts": list(resolved.hosts)}
