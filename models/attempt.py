"""Attempts: a worker starts claimed jobs, or gives them back. Compare-and-swap on the claim number."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

import settings
from models.claim import Job
from models.predicates import (
    A_JOURNAL_IS_UNDRAINED,
    DATABASE_IS_FIT,
    END_IS_ASKED_FOR,
    REJECTION_IS_REPORTED,
    TOKEN_WAS_REFUSED,
    of,
)
from models.rows import made_of
from models.states.grant import GrantStatus


class Started(NamedTuple):
    """A job that is ours: the grant as it was when its attempt began; tokens are sealed."""

    grant_id: UUID
    client_id: int
    ref: str
    status: str
    generation: int
    claim_no: int
    started_at: datetime
    lease_until: datetime
    sealed_refresh_token: bytes | None
    refresh_fingerprint: bytes | None
    former_token_id: int | None
    labels: dict[str, list[str]]
    life: timedelta | None
    access_expires_at: datetime | None
    doubt_since: datetime | None
    doubt_repeated: bool
    access_rejected: bool
    journals_undrained: bool
    suspect_at: datetime | None
    failing_since: datetime | None
    client_paused: bool
    valve_shut: bool
    canary: bool


_WAS_HELD_BACK = f"""(
                coalesce(c.after_grace, 'family') = 'family'
                and coalesce(g.access_expires_at - least(interval '60 seconds', g.life / 4) > clock.at, false)
                and g.rejected_at is null and not {REJECTION_IS_REPORTED}
            )"""

# An attempt that nobody ended (started_at is still set) is noted as doubt before it is forgotten, together with
# the journal that may hold its answer. At `grace` one that began when every earlier grace was over, with nothing left
# in a journal, begins a doubt of its own: what came before is settled or lost, and this may be the first use. Not where
# its access token still serves and a late repeat would end it: then it was held back (policy/guard.py). A suspect
# presents its newest former token that had no attempt yet; at `grace` and `family` only once its present token was
# refused a second time, for there a spent one kills what is alive; not where nothing is killed after the grace either.
#
# `claimed_at` is asked for so that PostgreSQL does not see that all it may find stands in the index of what is under
# way: it would read all of that, up to a whole burst for every message. A claim of 1970 stands for an attempt beside
# which a late token set was stored, and nobody may start it.
#
# One that is refused alone in words that nobody understands, three times over ten minutes (tasks/policy/refusal.py), is
# a suspect in this: what came for a generation that was stored already may be what lives.
START = text(f"""
with job as (
    select * from unnest(cast(:ids as uuid[]), cast(:claim_nos as bigint[])) as job (id, claim_no)
),
mine as (
    select g.id, c.attempt_lease, clock.at,
        g.started_at is not null and (
            g.doubt_since is null
            or g.started_at > g.doubt_since + 2 * c.grace and not {A_JOURNAL_IS_UNDRAINED} and not {_WAS_HELD_BACK}
        ) as begins_doubt
    from job
    join evergrant.grants g on g.id = job.id and g.claim_no = job.claim_no
        and coalesce(g.claimed_at, 'epoch') > 'epoch'
    join evergrant.clients c on c.id = g.client_id
    cross join (select coalesce(:now, clock_timestamp()) as at) clock
    where g.status = cast(:status as text) and (
        g.status = 'revoking' or not {END_IS_ASKED_FOR}
    )
    -- A claim whose lease has lapsed no longer counts against rate and burst, so its message begins nothing: else
    -- all that beat ever published while no worker was there would leave at once.
    and g.due_at > clock.at
    -- A restored or copied database sends nothing: neither one that says so itself, nor one that lacks what we saw.
    and {DATABASE_IS_FIT}
    and (cast(:tick as uuid) is null or exists (select from evergrant.ticks t where t.id = cast(:tick as uuid)))
    order by g.id
    for no key update of g skip locked  -- what a stranger has locked is claimed again after its lease
),
started as (
    update evergrant.grants g
    set claim_no = g.claim_no + 1, claimed_at = null, started_at = mine.at, journal_id = :journal_id,
        due_at = mine.at + mine.attempt_lease,
        doubt_since = case when mine.begins_doubt then g.started_at else g.doubt_since end,
        doubt_repeated = case when mine.begins_doubt then false else g.doubt_repeated end,
        doubt_journals = case
            when g.started_at is null or g.journal_id is null or g.journal_id = any (g.doubt_journals)
            then g.doubt_journals else g.doubt_journals || g.journal_id
        end
    from mine where g.id = mine.id
    returning g.*
)
select s.id as grant_id, s.client_id, s.ref, s.status, s.generation, s.claim_no, s.started_at,
    s.due_at as lease_until,
    coalesce(f.sealed_refresh_token, s.sealed_refresh_token) as sealed_refresh_token,
    coalesce(f.refresh_fingerprint, s.refresh_fingerprint) as refresh_fingerprint,
    f.id as former_token_id,
    s.labels, s.life, s.access_expires_at, s.doubt_since, s.doubt_repeated,
    s.rejected_at is not null or {of("s", REJECTION_IS_REPORTED)} as access_rejected,
    {of("s", A_JOURNAL_IS_UNDRAINED)} as journals_undrained,
    s.suspect_at, s.failing_since,
    v.paused_by_operator and s.status <> 'revoking' as client_paused,
    coalesce(v.paused_until > s.started_at and v.canary_grant_id is distinct from s.id, false) as valve_shut,
    coalesce(v.paused_until > s.started_at and v.canary_grant_id = s.id, false) as canary
from started s
join evergrant.valves v on v.client_id = s.client_id
join evergrant.clients c on c.id = s.client_id
left join lateral (
    select t.id, t.sealed_refresh_token, t.refresh_fingerprint
    from evergrant.former_tokens t
    where t.grant_id = s.id and t.tried_at is null and t.known_dead_at is null and (
        s.suspect_at is not null and (
            case c.rotation when 'grace' then coalesce(c.after_grace, 'family') else c.rotation end <> 'family'
            or s.asked_at > s.suspect_at and {of("s", TOKEN_WAS_REFUSED)}
        )
        or s.refusals >= 3 and s.last_error_code = s.refused_code
        and s.asked_at >= s.refused_since + interval '10 minutes'
        and s.refused_since > coalesce(s.refreshed_at, '-infinity')
        and exists (
            select from evergrant.witnesses w where w.client_id = s.client_id and w.witness_at > s.refused_since
        )
    )
    order by t.id desc
    limit 1
) f on true
""")  # noqa: S608  # constants

# A COMMIT that was answered by a reset: are these attempts ours?
BEGUN = text("""
select g.id as grant_id, job.claim_no
from unnest(cast(:ids as uuid[]), cast(:claim_nos as bigint[])) as job (id, claim_no)
join evergrant.grants g on g.id = job.id
where g.claim_no = job.claim_no + 1 and g.claimed_at is null and g.started_at is not null
    and g.journal_id = :journal_id
""")

# A claim that is given back before anybody started it may stand on an attempt that nobody ended: that one is kept,
# for the next start to note as doubt.
RELEASE = text("""
with job as (
    select * from unnest(
        cast(:ids as uuid[]), cast(:claim_nos as bigint[]), cast(:waits as interval[])
    ) as job (id, claim_no, wait)
),
mine as (
    select g.id, job.wait from job
    join evergrant.grants g on g.id = job.id and g.claim_no = job.claim_no
    where g.claimed_at is not null or g.started_at is not null
    order by g.id
    for no key update of g skip locked  -- what a stranger has locked is due again when its lease ends
)
update evergrant.grants g
set claimed_at = null, started_at = case when g.claimed_at is null then null else g.started_at end,
    due_at = coalesce(:now, clock_timestamp()) + mine.wait
from mine where g.id = mine.id
returning g.id
""")


def start(
    connection: Connection,
    jobs: Sequence[Job],
    *,
    journal_id: int,
    status: str = GrantStatus.ACTIVE,
    tick: UUID | None = None,
    now: datetime | None = None,
) -> list[Started]:
    """Begin an attempt for every job whose claim still stands; the others are stale, and silently not returned.

    Args:
        connection: in a transaction that the caller commits before anything is sent.
        jobs: (grant_id, claim_no) of one message.
        journal_id: of this process, the only place where an answer could be.
        status: `active` for a refresh, `revoking` for a revocation's own work, `needs_consent` for a second look.
        tick: the newest tick that this process has seen; a database that lacks it lost commits.
        now: the database clock by default.

    """
    parameters: dict[str, Any] = {**_arrays(jobs), "journal_id": journal_id, "status": status, "tick": tick, "now": now}
    parameters["environment"] = settings.current().environment
    return made_of(connection.execute(START, parameters), Started)


def begun(connection: Connection, jobs: Sequence[Job], *, journal_id: int) -> set[Job]:
    """Those of `jobs` that this process has started already (its COMMIT was answered by a reset)."""
    rows = connection.execute(BEGUN, {**_arrays(jobs), "journal_id": journal_id})
    return {(row.grant_id, row.claim_no) for row in rows}


def release(connection: Connection, jobs: Sequence[tuple[UUID, int, timedelta]], *, now: datetime | None = None) -> int:
    """Give jobs back of which nothing was sent; each is due again after its wait. Returns how many were ours."""
    parameters = {
        "ids": [job[0] for job in jobs],
        "claim_nos": [job[1] for job in jobs],
        "waits": [job[2] for job in jobs],
        "now": now,
    }
    return len(connection.execute(RELEASE, parameters).all())


def _arrays(jobs: Sequence[Job]) -> dict[str, list[UUID] | list[int]]:
    return {"ids": [job[0] for job in jobs], "claim_nos": [job[1] for job in jobs]}
