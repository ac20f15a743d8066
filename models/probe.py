"""Probe: claiming one grant by hand, under the rules of any other claim, and given back as it was."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from models.predicates import END_IS_ASKED_FOR, NOBODY_HAS_IT
from models.states.grant import GrantStatus


@dataclass(frozen=True, slots=True)
class Taken:
    """A grant claimed for a probe, with its own token (a suspect's start would take a former one first)."""

    grant_id: UUID
    claim_no: int
    status: str
    was_due_in: timedelta
    sealed_refresh_token: bytes | None = field(repr=False)
    refresh_fingerprint: bytes | None


TAKE = text(f"""
with idle as (
    select g.id, greatest(g.due_at - clock_timestamp(), interval '0') as was_due_in
    from evergrant.grants g
    where g.id = :id and g.status = any (cast(:statuses as text[]))
        and (g.due_at <= clock_timestamp() or {NOBODY_HAS_IT})
        and not {END_IS_ASKED_FOR}
    for no key update of g skip locked
)
update evergrant.grants g
set claim_no = g.claim_no + 1, claimed_at = clock_timestamp(), due_at = clock_timestamp() + cast(:lease as interval)
from idle where g.id = idle.id
returning g.id as grant_id, g.claim_no, g.status, idle.was_due_in, g.sealed_refresh_token, g.refresh_fingerprint
""")  # noqa: S608  # constants


def take(
    connection: Connection, grant_id: UUID, *, lease: timedelta, statuses: Sequence[str] = (GrantStatus.ACTIVE,)
) -> Taken | None:
    """Claim one grant; None where it has another status, is under way, or being revoked."""
    parameters = {"id": grant_id, "lease": lease, "statuses": list(statuses)}
    row = connection.execute(TAKE, parameters).mappings().one_or_none()
    return Taken(**row) if row else None
