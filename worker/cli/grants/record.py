"""How a grant is shown, and what a human should do about it."""

from typing import TYPE_CHECKING, Any, assert_never

from models.states.grant import GrantStatus, PauseReason
from tasks.policy.advice import advice_for, consent_advice, named, refused_alone_advice

if TYPE_CHECKING:
    from sqlalchemy import RowMapping


def record(row: "RowMapping") -> dict[str, Any]:
    """A grant as JSON and tables show it."""
    return {
        "ref": row["ref"],
        "client": row["client"],
        "status": row["status"],
        "reason": row["reason"],
        "next": next_step(row),
        "generation": row["generation"],
        "scope": row["scope"],
        "labels": row["labels"],
        "access_expires_at": row["access_expires_at"],
        "due_at": row["due_at"] if row["status"] == GrantStatus.ACTIVE else None,
        "failures": row["failures"],
        "last_error": last_error(row),
        "created_at": row["created_at"],
        "refreshed_at": row["refreshed_at"],
        "refresh_expires_at": row["refresh_expires_at"],
        "consent_expires_at": row["consent_expires_at"],
    }


def last_error(row: "RowMapping") -> dict[str, Any] | None:
    """What went wrong last, or None."""
    if row["last_error_at"] is None:
        return None
    told = {
        "code": row["last_error_code"],
        "http_status": row["last_error_http_status"],
        "at": row["last_error_at"],
    }
    # A revocation's says no more: its answers are told by their code alone.
    if "last_error_rule" not in row:
        return told
    return told | {"rule": row["last_error_rule"], "shape": row["last_error_shape"]}


def next_step(row: "RowMapping") -> str | None:
    """What a human should do about a grant; None where nothing is to be done."""
    grant = named(row["ref"], row["client"])
    match GrantStatus(row["status"]):
        case GrantStatus.NEEDS_CONSENT:
            return consent_advice(row["reason"], grant=grant, by_link=row["asked_by_link"])
        case GrantStatus.PAUSED if row["reason"] == PauseReason.HANDED_OVER:
            return f"another home keeps it; to take it back: evergrant grants resume {grant}"
        case GrantStatus.PAUSED:
            return f"evergrant grants resume {grant}"
        case GrantStatus.ACTIVE if row["refused_alone"]:
            return refused_alone_advice(
                row["last_error_code"],
                row["last_error_rule"],
                client=row["client"],
                grant=grant,
                by_link=row["asked_by_link"],
            )
        case GrantStatus.ACTIVE:
            code = row["last_error_code"] if row["failures"] else None
            return advice_for(code, ref=row["ref"], client=row["client"], shape=row["last_error_shape"])
        case GrantStatus.REVOKING | GrantStatus.REVOKED:
            return None
        case status:
            assert_never(status)
