"""Second look: dead grants whose sealed pair is kept are claimed once more, some time after the verdict.

Claimed as any other: with a number, a lease, and nobody else under way. The letter notes the look before it is made, so
one that is lost with its process is made up for by the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

import settings
from models.claim import Job
from models.predicates import DATABASE_IS_FIT, END_IS_ASKED_FOR, NOBODY_HAS_IT

# A grant that died, has not been given anything since, and that nobody has.
MAY_BE_ASKED = f"""d.kind = 'refresh' and d.resolved_at is null and d.look_at <= clock.at
        and g.status = 'needs_consent' and g.generation = d.generation and g.sealed_refresh_token is not null
        and (g.due_at <= clock.at or {NOBODY_HAS_IT})
        and not {END_IS_ASKED_FOR}"""

WAITING = text(f"""
select d.client_id, count(*) as grants
from evergrant.dead_letters d
join evergrant.grants g on g.id = d.grant_id
join evergrant.valves v on v.client_id = d.client_id
cross join (select coalesce(:now, clock_timestamp()) as at) clock
where {MAY_BE_ASKED}
    and not v.paused_by_operator and v.paused_until is null
    and {DATABASE_IS_FIT}
group by d.client_id
order by d.client_id
""")  # noqa: S608  # constants

# The next look counts from the verdict; where this one comes late by as much, from now.
CLAIM = text(f"""
with due as (
    select g.id, d.id as letter_id, d.dead_at, d.looks, clock.at,
        least(cast(:lease as interval), c.attempt_lease) as lease
    from evergrant.dead_letters d
    join evergrant.grants g on g.id = d.grant_id
    join evergrant.clients c on c.id = d.client_id
    cross join (select coalesce(:now, clock_timestamp()) as at) clock
    where d.client_id = :client_id and {MAY_BE_ASKED}
    order by d.look_at, d.id
    limit :most
    for no key update of d, g skip locked
),
looked as (
    update evergrant.dead_letters d
    set looks = due.looks + 1,
        look_at = greatest(
            due.dead_at + (cast(:waits as interval[]))[due.looks + 2],
            due.at + (cast(:waits as interval[]))[due.looks + 2] - (cast(:waits as interval[]))[due.looks + 1]
        )
    from due where d.id = due.letter_id
)
update evergrant.grants g
set claim_no = g.claim_no + 1, claimed_at = due.at, due_at = due.at + due.lease
from due where g.id = due.id
returning g.id, g.claim_no
""")  # noqa: S608  # constants


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many dead grants of a client are to be asked once more."""

    client_id: int
    grants: int


def waiting(connection: Connection, *, now: datetime | None = None) -> list[Waiting]:
    """Clients with an open valve, in a database that is fit, of whose dead grants some are to be asked."""
    found = connection.execute(WAITING, {"now": now, "environment": settings.current().environment})
    return [Waiting(row.client_id, row.grants) for row in found]


def claim(
    connection: Connection,
    client_id: int,
    most: int,
    *,
    lease: timedelta,
    waits: Sequence[timedelta],
    now: datetime | None = None,
) -> list[Job]:
    """Claim so many of a client's dead grants that are to be asked; `waits`: when each is asked, since its verdict."""
    parameters: dict[str, Any] = {
        "client_id": client_id, "most": most, "lease": lease, "waits": list(waits), "now": now,
    }  # fmt: skip
    return [(row.id, row.claim_no) for row in connection.execute(CLAIM, parameters)]
