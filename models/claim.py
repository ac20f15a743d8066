"""Claims: beat takes due rows of one client, within what its valve lets through.

A claim is a committed row with a number, no lock: `due_at` is moved to the end of the dispatch lease, so when
publishing fails, or the broker forgets, the very same query claims again. `SKIP LOCKED` is the only arbiter
between any number of beats. FOR NO KEY UPDATE, because an application's open transaction that inserted a
revocation holds FOR KEY SHARE on the grant: FOR UPDATE would skip, and a refresh would wait for a stranger.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

import settings
from models.predicates import (
    CANARY_HAS_LAPSED,
    DATABASE_IS_FIT,
    END_IS_ASKED_FOR,
    NOBODY_HAS_IT,
    REJECTION_IS_REPORTED,
    SOMEBODY_HAS_IT,
)

Job = tuple[UUID, int]  # (grant_id, claim_no): all that a message may say

# The first that is due, by the index: asked whether one exists PostgreSQL expects many, and reads the whole table to
# find that there is none (measured: 30 ms a look at 200 000 idle grants, now 0.1).
LOOK = text(f"""
select v.client_id
from evergrant.valves v
join evergrant.clients c on c.id = v.client_id
cross join (select coalesce(:now, clock_timestamp()) as at) clock
cross join lateral (
    select coalesce(min(g.due_at) <= clock.at, false) as is_due from evergrant.grants g
    where g.client_id = v.client_id and g.status = 'active'
) first
where {DATABASE_IS_FIT}
and (
    -- First, for no index serves the other: a look at an open valve must not read what is due.
    v.paused_until is null or v.paused_until <= clock.at or {CANARY_HAS_LAPSED}
    or case when c.rotation = 'grace' and first.is_due then exists (
        select from evergrant.grants u
        where u.client_id = v.client_id and u.status = 'active' and u.due_at <= clock.at
            and u.started_at > clock.at - c.grace
    ) or exists (
        select from evergrant.grants d
        where d.client_id = v.client_id and d.status = 'active' and d.due_at <= clock.at
            and d.doubt_since > clock.at - c.grace and not d.doubt_repeated
    ) else false end
)
and (
    exists (
        select from evergrant.revocations r
        where r.client_id = v.client_id and r.status = 'queued' and r.due_at <= clock.at
    )
    or not v.paused_by_operator and (
        first.is_due
        or exists (select from evergrant.refresh_requests w where w.client_id = v.client_id)
    )
)
order by v.client_id
""")  # noqa: S608  # constants

LOCK_VALVE = text(f"""
select v.client_id, v.next_slot_at, v.slot_no, v.paused_by_operator, v.paused_until, v.pause_reason, v.pause_seconds,
    v.changed_at, v.canary_grant_id, v.strike_grant_ids, v.minute_at, v.minute_asked, v.minute_bad, v.minute_grant_ids,
    c.rate_per_minute, c.burst, c.attempt_lease, c.rotation, w.slowed_by, w.slowed_from, clock.at,
    coalesce(w.scarce_until > clock.at, false) as quota_is_scarce,
    v.paused_until > clock.at and {CANARY_HAS_LAPSED} as canary_has_lapsed,
    (
        select count(*) from evergrant.grants g
        where g.client_id = v.client_id and g.due_at > clock.at
            and {SOMEBODY_HAS_IT}
    ) as under_way,
    -- What there is to ask for: most claims find only what is due, and spare themselves four statements.
    exists (
        select from evergrant.revocations r
        where r.client_id = v.client_id and r.status = 'queued' and r.due_at <= clock.at
    ) as revocations_wait,
    exists (
        select from evergrant.grants g
        where g.client_id = v.client_id and g.status = 'active' and g.failures > 0 and g.due_at <= clock.at
    ) as failing_wait,
    exists (select from evergrant.refresh_requests w where w.client_id = v.client_id) as requests_wait
from evergrant.valves v
join evergrant.clients c on c.id = v.client_id
left join evergrant.witnesses w on w.client_id = v.client_id
cross join (select coalesce(:now, clock_timestamp()) as at) clock
where v.client_id = :client_id and {DATABASE_IS_FIT}
for no key update of v skip locked
""")  # noqa: S608  # constants

# A grant whose revocation is open would be refused at start, and its revocation would wait for the lease to lapse.
# By `ctid`: the locked rows are changed where they lie. Joined by id each is looked for once more, in a small fleet by
# reading all of it (measured: 25 µs of CPU a token, now 17). A row that somebody else changed between the look and the
# lock lies elsewhere, where this statement cannot see it: it is left to the next claim, as a locked one is.
CLAIM_DUE = f"""
update evergrant.grants g
set claim_no = g.claim_no + 1, claimed_at = :at, due_at = :at + :lease
where g.ctid = any (array(
    select g.ctid from evergrant.grants g
    where g.client_id = :client_id and g.status = 'active' and g.due_at <= :at {{condition}}
        and not {END_IS_ASKED_FOR}
    order by {{order}}
    limit :most
    for no key update of g skip locked
))
returning g.id, g.claim_no
"""  # noqa: S608  # constants
DUE = text(CLAIM_DUE.format(condition="", order="g.due_at"))
FAILING = text(CLAIM_DUE.format(condition="and g.failures > 0", order="g.due_at"))
# A canary: no suspect and none that is refused alone, for its refusal would open nothing; not in doubt; none that
# failed since the valve was shut, and not the last one, unless no other is left; without failures first.
CANARY = text(
    CLAIM_DUE.format(
        condition="",
        order="g.suspect_at is not null, g.refusals > 0 and g.failures > 0, "
        "coalesce(g.doubt_since, g.started_at) is not null, "
        "coalesce(g.last_error_at >= cast(:failed_since as timestamptz), false), "
        "g.id is not distinct from cast(:last as uuid), g.failures > 0, g.due_at",
    )
)
# Some providers limit how often one grant may be renewed. What is due by itself keeps to that already.
IS_NOT_TOO_SOON = """coalesce(
            g.asked_at <= :at - (select c.grant_interval from evergrant.clients c where c.id = g.client_id), true
        )"""

# Where everybody seems to be refused, whoever succeeded last tells the truth soonest, due or not: else those who were
# refused are asked again and again, and the next who is well may come due too late.
WITNESS = text(f"""
update evergrant.grants g
set claim_no = g.claim_no + 1, claimed_at = :at, due_at = :at + :lease
where g.ctid = any (array(
    select g.ctid from evergrant.grants g
    where g.id = any (cast(:ids as uuid[])) and g.client_id = :client_id and g.status = 'active'
        and g.started_at is null and (g.claimed_at is null or g.due_at <= :at)
        and g.doubt_since is null and g.suspect_at is null and g.failures = 0
        and {IS_NOT_TOO_SOON}
        and not {END_IS_ASKED_FOR}
    order by array_position(cast(:ids as uuid[]), g.id)
    limit 1
    for no key update of g skip locked
))
returning g.id, g.claim_no
""")  # noqa: S608  # constants

# At `grace` the old refresh token lives for seconds, so the first repeat goes ahead of back-off and valve,
# also where nobody ended that attempt. The guard sees to it that its deadline ends inside the grace.
# Two searches, each in a small index: with one condition for both each claim read all that was due (measured: 90 ms
# with a hundred thousand due, now 2).
REPEATS = text(
    CLAIM_DUE.format(
        condition="""and g.ctid = any (array(
            select u.ctid from evergrant.grants u
            where u.client_id = :client_id and u.due_at <= :at
                and u.started_at > :at - (select c.grace from evergrant.clients c where c.id = :client_id)
            union
            select d.ctid from evergrant.grants d
            where d.client_id = :client_id and d.status = 'active' and d.due_at <= :at and not d.doubt_repeated
                and d.doubt_since > :at - (select c.grace from evergrant.clients c where c.id = :client_id)
        ))""",
        order="g.due_at",
    )
)

# A refresh request never shortens a lease nor a back-off: the grant must be idle, well, and of the generation seen. It
# is used up by the claim, for from then on the grant is due by itself; kept, it would cut short the wait after a
# release.
REQUESTED = text(f"""
with requested as (
    select g.id
    from evergrant.refresh_requests w
    join evergrant.grants g on g.id = w.grant_id
    where w.client_id = :client_id and g.status = 'active' and g.generation = w.generation
        and (g.due_at <= :at or g.attempts = 0 and {NOBODY_HAS_IT})
        and g.failures = 0 and g.suspect_at is null and g.doubt_since is null
        and (g.refreshed_at is null or g.refreshed_at <= :at - least(interval '60 seconds', g.life / 4))
        and {IS_NOT_TOO_SOON}
        and not {END_IS_ASKED_FOR}
    order by w.requested_at
    limit :most
    for no key update of g skip locked
),
used as (
    delete from evergrant.refresh_requests w using requested where w.grant_id = requested.id
)
update evergrant.grants g
set claim_no = g.claim_no + 1, claimed_at = :at, due_at = :at + :lease,
    rejected_at = case
        when {REJECTION_IS_REPORTED}
        then :at else g.rejected_at
    end
from requested where g.id = requested.id
returning g.id, g.claim_no
""")  # noqa: S608  # constants

DROP_VOID_REQUESTS = text("""
delete from evergrant.refresh_requests w
using evergrant.grants g
where w.client_id = :client_id and g.id = w.grant_id
    and (g.generation <> w.generation or g.status not in ('active', 'paused'))
""")

# The grant's own claim number fences a revocation, too: a refresh under way ends first. Those whose own pair may
# live go before those that have former pairs left: asked for apart, each lie in the order of the index.
REVOCATIONS = text(f"""
with queued as (
    select r.id, r.grant_id
    from evergrant.revocations r
    join evergrant.grants g on g.id = r.grant_id
    where r.client_id = :client_id and r.status = 'queued' and r.due_at <= :at
        and (r.current_dead_at is not null) = :of_formers
        and (g.due_at <= :at or {NOBODY_HAS_IT})
    order by r.due_at
    limit :most
    for no key update of r, g skip locked
)
update evergrant.grants g
set status = 'revoking', claim_no = g.claim_no + 1, claimed_at = :at, due_at = :at + :lease
from queued where g.id = queued.grant_id
returning g.id, g.claim_no
""")  # noqa: S608  # constants

# `proven_no`: the credentials that a success at `succeeded_at` proves, unless others are in force by now.
SET_VALVE = text("""
update evergrant.valves v set
    next_slot_at = :next_slot_at, slot_no = :slot_no, paused_until = :paused_until,
    pause_reason = :pause_reason, pause_seconds = :pause_seconds, changed_at = :changed_at,
    canary_grant_id = :canary_grant_id, strike_grant_ids = cast(:strike_grant_ids as uuid[]),
    minute_at = :minute_at, minute_asked = :minute_asked, minute_bad = :minute_bad,
    minute_grant_ids = cast(:minute_grant_ids as uuid[]),
    last_success_at = case
        when proof.holds then greatest(v.last_success_at, cast(:succeeded_at as timestamptz)) else v.last_success_at
    end,
    credentials_proven_no = case when proof.holds then :proven_no else v.credentials_proven_no end
from (
    select exists (
        select from evergrant.clients c where c.id = :client_id and c.credentials_no = cast(:proven_no as integer)
    ) as holds
) proof
where v.client_id = :client_id
""")


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose rows are claimed, as of when, and for how long."""

    client_id: int
    at: datetime
    lease: timedelta

    def parameters(self, most: int) -> dict[str, Any]:
        """The statement's parameters for at most `most` rows."""
        return {"client_id": self.client_id, "at": self.at, "lease": self.lease, "most": most}


def clients_to_look_at(connection: Connection, *, now: datetime | None = None) -> list[int]:
    """Ids of the clients with something due, requested or to revoke, and an open valve."""
    return list(connection.execute(LOOK, {"now": now, "environment": settings.current().environment}).scalars())


def lock_valve(connection: Connection, client_id: int, *, now: datetime | None = None) -> dict[str, Any] | None:
    """The valve's row with the client's rate, burst, jobs `under_way`, what else waits, and the clock `at`.

    `canary_has_lapsed`: it is shut until its canary's back-off ends, and that canary was never sent.

    None: another beat has it.
    """
    parameters = {"client_id": client_id, "now": now, "environment": settings.current().environment}
    row = connection.execute(LOCK_VALVE, parameters).mappings().one_or_none()
    return None if row is None else dict(row)


def set_valve(
    connection: Connection,
    client_id: int,
    values: dict[str, Any],
    *,
    proven_no: int | None = None,
    succeeded_at: datetime | None = None,
) -> None:
    """Write what the policy made of a locked valve; and where something succeeded, when, and what that proves."""
    proof = {"proven_no": proven_no, "succeeded_at": succeeded_at}
    connection.execute(SET_VALVE, {**values, **proof, "client_id": client_id})


def due(connection: Connection, scope: Scope, most: int) -> list[Job]:
    """Claim what is due, the longest overdue first."""
    return _jobs(connection, DUE, scope, most)


def failing(connection: Connection, scope: Scope, most: int) -> list[Job]:
    """Claim grants that are due and failed before."""
    return _jobs(connection, FAILING, scope, most)


def repeats(connection: Connection, scope: Scope, most: int) -> list[Job]:
    """Claim grants in doubt whose old refresh token lives for seconds only."""
    return _jobs(connection, REPEATS, scope, most)


def requested(connection: Connection, scope: Scope, most: int) -> list[Job]:
    """Claim grants that somebody wants refreshed early; void refresh requests are dropped on the way."""
    connection.execute(DROP_VOID_REQUESTS, {"client_id": scope.client_id})
    return _jobs(connection, REQUESTED, scope, most)


def revocations(connection: Connection, scope: Scope, most: int) -> list[Job]:
    """Claim grants whose revocation is queued, whose own pair may live first; from here on their status says so."""
    jobs = _jobs(connection, REVOCATIONS, scope, most, of_formers=False)
    return jobs + _jobs(connection, REVOCATIONS, scope, most - len(jobs), of_formers=True)


def canary(
    connection: Connection, scope: Scope, *, last: UUID | None, failed_since: datetime | None = None
) -> list[Job]:
    """Claim the one grant whose request may open the valve: of those that are due the one that is most likely well.

    `failed_since`: who failed since then is taken last.
    """
    rows = connection.execute(CANARY, {**scope.parameters(1), "last": last, "failed_since": failed_since})
    return [(row.id, row.claim_no) for row in rows]


def witness(connection: Connection, scope: Scope, ids: Sequence[UUID]) -> list[Job]:
    """Claim the first of these grants that is well and not under way, due or not."""
    rows = connection.execute(WITNESS, {**scope.parameters(1), "ids": list(ids)})
    return [(row.id, row.claim_no) for row in rows]


def _jobs(connection: Connection, statement: Any, scope: Scope, most: int, **more: Any) -> list[Job]:
    if most <= 0:
        return []
    return [(row.id, row.claim_no) for row in connection.execute(statement, {**scope.parameters(most), **more})]
