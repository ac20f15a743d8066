"""What somebody has decided about a grant or its client: its end, a consent that is missing, a pause."""

from typing import Final

from tasks.policy.advice import asks_again, consent_advice, named
from tasks.policy.explanation.cause import Cause, iso, many
from tasks.policy.explanation.facts import (
    DEAD,
    NEEDS_CONSENT,
    PAUSED,
    QUEUED,
    REVOKED,
    REVOKING,
    WAITING,
    Facts,
    Revocation,
)

HANDED_OVER: Final = "handed_over"
DIED: Final = {
    "response_lost": "an answer was lost, and with it the only copy of its refresh token",
    "revoked_or_expired": "the provider refuses its refresh token",
    "revoked": "the user or an administrator took it back",
    "expired": "its time was over, or it was not used for too long",
    "password_changed": "the user's password was changed",
    "admin_policy": "an administrator's rule forbids it",
    "app_removed": "the app was uninstalled there",
    "mfa_required": "the user must prove again who they are",
    "sign_in_again": "the session that it hangs on has ended",
    "user_gone": "the account is disabled or deleted",
    "scope_changed": "what is asked for was never granted, or is not any more",
}


def grant_is_revoked(now: Facts) -> Cause | None:
    """It was revoked: it is over."""
    if now.grant.status != REVOKED:
        return None
    end = now.revocation
    how = f" (evidence: {end.evidence})" if end is not None and end.evidence else ""
    return Cause(
        told=f"It was revoked, and is dead at the provider{how}",
        since=end.done_at if end else None,
        by_whom=end.requested.by if end else None,
        then="Nothing: it is over",
        remedy="its user may connect anew",
        command=f"evergrant grants connect {named(now.grant.ref, now.client.name)}",
        stops=True,
    )


def consent_is_needed(now: Facts) -> Cause | None:
    """It was judged dead, or its user withdrew: only its user can mend it."""
    if now.grant.status != NEEDS_CONSENT:
        return None
    reason = now.grant.reason
    why = DIED.get(reason or "", "nobody said why")
    look = now.letter.look_at if now.letter else None
    grant = named(now.grant.ref, now.client.name)
    told = f"Its user must consent again ({reason or 'no reason'}): {why}"
    then = f"It is asked once more at {iso(look)}, in case it lives" if look else "Nothing happens by itself"
    return Cause(
        told=told,
        since=now.letter.dead_at if now.letter else now.grant.last_error_at,
        then=then,
        retry_at=look,
        remedy=consent_advice(reason, grant=grant).rpartition(": ")[0],
        command=asks_again(grant, by_link=now.asks_by_link),
        stops=True,
    )


def grant_is_handed_over(now: Facts) -> Cause | None:
    """`grants export --handover` gave it to another home, which keeps it."""
    if now.grant.status != PAUSED or now.grant.reason != HANDED_OVER:
        return None
    return Cause(
        told="It was handed over: another home keeps it, and here nothing is sent for it",
        since=now.grant.paused.at if now.grant.paused else None,
        by_whom=now.grant.paused.by if now.grant.paused else None,
        then="Nothing happens here",
        remedy="take it back, once the other home has let it go",
        command=f"evergrant grants resume {named(now.grant.ref, now.client.name)}",
        stops=True,
    )


def grant_is_paused(now: Facts) -> Cause | None:
    """An operator paused this grant."""
    if now.grant.status != PAUSED or now.grant.reason == HANDED_OVER:
        return None
    return Cause(
        told="It is paused",
        since=now.grant.paused.at if now.grant.paused else None,
        by_whom=now.grant.paused.by if now.grant.paused else None,
        then="Nothing is sent for it until somebody resumes it",
        command=f"evergrant grants resume {named(now.grant.ref, now.client.name)}",
        stops=True,
    )


def revocation_has_failed(now: Facts) -> Cause | None:
    """Its revocation was given up: the provider could not be made to do it."""
    end = now.revocation
    if now.grant.status != REVOKING or end is None or end.status != DEAD:
        return None
    letter = f"evergrant dead-letters redrive {now.letter.id}" if now.letter else f"evergrant revocations show {end.id}"
    code = f" ({end.last_error_code})" if end.last_error_code else ""
    return Cause(
        told=f"Its revocation was given up{code}: no token is handed out, and the provider may not have ended it",
        since=now.letter.dead_at if now.letter else end.requested.at,
        by_whom=end.requested.by,
        then="Nothing happens by itself",
        command=letter,
        stops=True,
    )


def grant_is_being_revoked(now: Facts) -> Cause | None:
    """Somebody asked for its end: no token is handed out any more, and the provider is told."""
    end = now.revocation
    if now.grant.status != REVOKING or (end is not None and end.status == DEAD):
        return None
    code = f"; last: {end.last_error_code}" if end is not None and end.last_error_code else ""
    return Cause(
        told=f"It is being revoked, so no token of it is handed out{code}",
        since=end.requested.at if end else None,
        by_whom=end.requested.by if end else None,
        then=_how_it_ends(now, end),
        retry_at=end.due_at if end is not None and end.status == QUEUED else None,
    )


def _how_it_ends(now: Facts, end: Revocation | None) -> str:
    if end is not None and end.status == WAITING:
        return "It ends together with the consent that took its place"
    if end is not None and _waits_for_its_turn(now, end):
        return _its_turn(now, end)
    return "A worker ends it at the provider"


def _its_turn(now: Facts, end: Revocation) -> str:
    client, formers = now.client, now.grant.formers
    pace = client.rate_per_minute if client.slowed_to is None else client.slowed_to
    left = f"; its own is dead, {many(formers, 'former token set')} may live" if end.own_is_dead and formers else ""
    return (
        f"It waits for its turn: {client.name} may send {pace:g} requests a minute, of which revocations have one in"
        f" four while refreshes are due{left}"
    )


def _waits_for_its_turn(now: Facts, end: Revocation) -> bool:
    """Whether nothing holds it up but that the slots of the rate are taken."""
    client = now.client
    limited = client.rate_per_minute is not None or client.slowed_to is not None
    is_due = end.status == QUEUED and end.due_at is not None and end.due_at <= now.at and not now.under_lease
    taken = client.next_slot_at is not None and client.next_slot_at > now.at
    return limited and is_due and taken and client.shut_until is None


def client_is_paused(now: Facts) -> Cause | None:
    """An operator paused the client: nothing is sent for it, revocations excepted."""
    if now.client.paused is None or now.grant.status == REVOKING:
        return None
    return Cause(
        told=f"Its client {now.client.name} is paused",
        since=now.client.paused.at,
        by_whom=now.client.paused.by,
        then="Nothing is sent until somebody resumes the client",
        command=f"evergrant clients resume {now.client.name}",
        stops=True,
    )


def revocation_is_held(now: Facts) -> Cause | None:
    """Somebody asked for more ends than the client's limit: they wait until an operator decides."""
    if now.held is None:
        return None
    return Cause(
        told="Its revocation was asked for and is held: whoever asked wanted very many at once; until then it lives on",
        since=now.held.at,
        by_whom=now.held.by,
        then="It waits until an operator accepts or discards it",
        remedy="look who asked, then let them go on; or drop them with --discard",
        command=f"evergrant clients accept-revocations {now.client.name}",
    )
