"""Customers on their way through a provider, as rows: how far each is, and how it ended."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

VISIT = """
with ticket as (
    insert into evergrant.tickets (ticket_hash, client_id, ref, labels, scopes, other_account_allowed, created_by,
        counted_as, expires_at, used_at, created_at)
    values (sha256(cast(:id as text)::bytea), :client_id, :ref, '{}', '{}', false, 'tests', 'tests',
        clock_timestamp() + interval '10 minutes', clock_timestamp(), clock_timestamp())
    returning id
)
insert into evergrant.visits (id, ticket_id, sealed_answer, answered_at, held_by, journal_id, ended_at, outcome, reason)
select cast(:id as uuid), id, cast(:sealed as bytea), clock_timestamp() - cast(:back as interval), :held_by,
    :journal_id, clock_timestamp() - cast(:ended as interval), :outcome, :reason
from ticket
"""


def a_visit(
    run: Callable[..., Any],
    client_id: int,
    ref: str = "customer",
    *,
    back: float,
    ended: float | None = None,
    outcome: str | None = None,
    reason: str | None = None,
    held_by: str | None = None,
    journal_id: int | None = None,
) -> UUID:
    """A customer who came back so many seconds ago, and whose visit ended so many seconds ago, where it has."""
    visit_id = uuid4()
    run(
        VISIT,
        id=str(visit_id),
        client_id=client_id,
        ref=ref,
        sealed=b"sealed" if ended is None else None,
        back=timedelta(seconds=back),
        ended=None if ended is None else timedelta(seconds=ended),
        outcome=outcome,
        reason=reason,
        held_by=held_by,
        journal_id=journal_id,
    )
    return visit_id
