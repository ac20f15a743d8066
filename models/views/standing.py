"""How a grant stands: all that the explanation of it is made of, for one grant, in three statements at most.

It reads no sealed column, so that `evergrant web` may ask as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from models.predicates import (
    IS_NOT_RENEWED,
    IS_STILL_HELD,
    IS_UNDRAINED,
    LAST_CONFIRMATION,
    SOMEBODY_HAS_IT,
    ends_soon_at,
)
from models.views.fleet import SILENT_AFTER
from models.views.listing import IS_REFUSED_ALONE, STATUS

MOST_AHEAD = 10_000  # who is due for longer is counted no further
MOST_ALIKE = 100  # nor who is refused alike

# A claim of 1970 stands for an attempt beside which a late token set was stored, and is nobody's.
STANDING = text(f"""
select clock.at, g.id, g.ref, g.client_id, {STATUS} as status, g.reason, coalesce(g.keep, c.keep) as keep,
    g.refreshed_at, g.access_expires_at, g.life, g.due_at, g.created_at,
    case when g.claimed_at > 'epoch' then g.claimed_at end as claimed_at, g.started_at,
    g.doubt_since, g.doubt_repeated, g.doubt_journals, g.suspect_at,
    g.failures, g.attempts, g.failing_since, g.asked_at,
    {IS_REFUSED_ALONE} as failed_alone,
    g.last_error_code, g.last_error_http_status, g.last_error_at, g.last_error_rule, g.last_error_shape,
    g.journal_id,
    case when v.pause_reason = 'tls_certificate' then (
        select max(a.last_error_shape) from evergrant.grants a
        where a.client_id = g.client_id and a.status = 'active' and a.failures > 0
            and a.last_error_code = v.pause_reason
    ) end as shut_shape,  -- the valve tells no more than the code
    case when g.status in ('active', 'paused') then {ends_soon_at(not_renewed=IS_NOT_RENEWED)} end as ends_soon_at,
    g.consent_expires_at, g.refresh_expires_at,
    paused.occurred_at as paused_at, paused.actor as paused_by,
    key.refresh_key_id, key.access_key_id, key.secret_key_id,
    c.name as client, c.provider, c.overrides, c.rotation, c.grace, c.after_grace, c.rate_per_minute, c.burst,
    c.grant_interval, c.secret_refused_at, c.secret_refused_code,
    v.paused_by_operator, v.paused_until, v.pause_reason, v.changed_at, v.next_slot_at,
    coalesce(w.refused_since is not null and v.pause_reason = w.refused_code, false) as shut_by_refusals,
    v.canary_grant_id is not distinct from g.id as canary_is_this,
    unconfirmed.occurred_at as unconfirmed_since, unconfirmed.reason as unconfirmed_code,
    (select count(*) from evergrant.former_tokens f where f.grant_id = g.id and f.known_dead_at is null) as formers,
    stopped.occurred_at as client_paused_at, stopped.actor as client_paused_by,
    case when g.suspect_at > coalesce(v.deaths_accepted_at, '-infinity') then v.deaths_held_at end as deaths_held_at,
    w.witness_at, w.slowed_by, w.slowed_from, w.slowed_code,
    case when w.scarce_until > clock.at then w.scarce_until end as scarce_until,
    case when g.status = 'active' and g.due_at <= clock.at then (
        select count(*) from (
            select from evergrant.grants a
            where a.client_id = g.client_id and a.status = 'active' and a.due_at < g.due_at limit {MOST_AHEAD}
        ) a
    ) else 0 end as ahead,
    case when g.status = 'active' and g.due_at <= clock.at then (
        select count(*) from evergrant.grants u
        where u.client_id = g.client_id and u.due_at > clock.at and {SOMEBODY_HAS_IT.replace("g.", "u.")}
    ) else 0 end as under_way,
    case when g.failures > 0 and right(g.last_error_code, 9) = '_unproven' then (
        select count(*) from (
            select from evergrant.grants a
            where a.client_id = g.client_id and a.id <> g.id and a.status = 'active' and a.failures > 0
                and a.last_error_code = g.last_error_code
            limit {MOST_ALIKE}
        ) a
    ) else 0 end as refused_alike,
    r.id as revocation_id, r.status as revocation_status, r.requested_at, r.requested_by, r.due_at as revocation_due_at,
    r.done_at, r.evidence, r.last_error_code as revocation_error, r.current_dead_at is not null as own_is_dead,
    d.id as letter_id, d.cause as letter_cause, d.dead_at, d.look_at,
    h.requested_at as held_at, h.counted_as as held_by,
    (select max(coalesce(w.done_at, i.adopted_at)) from evergrant.chores w) as worked_at,
    evergrant.database_state() as database_state, i.environment, current_database() as database_name,
    i.database_name as adopted_name, i.incident_at, i.public_url
from evergrant.grants g
join evergrant.clients c on c.id = g.client_id
join evergrant.valves v on v.client_id = c.id
left join evergrant.witnesses w on w.client_id = c.id
cross join (select clock_timestamp() as at) clock
cross join lateral evergrant.key_ids_of_grant(g.id) key
left join evergrant.installation i on true
left join evergrant.revocations r on r.grant_id = g.id
left join lateral (
    select e.occurred_at, e.actor from evergrant.events e
    where g.status = 'paused' and e.grant_id = g.id and e.type in ('grant.paused', 'grant.handed_over')
    order by e.id desc limit 1
) paused on true
left join lateral (
    select e.occurred_at, e.actor from evergrant.events e
    where v.paused_by_operator and e.grant_id is null and e.client_id = c.id and e.type = 'client.paused'
    order by e.id desc limit 1
) stopped on true
left join lateral ({LAST_CONFIRMATION}) unconfirmed on unconfirmed.type = 'client.unconfirmed'
left join lateral (
    select d.id, d.cause, d.dead_at, d.look_at from evergrant.dead_letters d
    where d.grant_id = g.id and d.resolved_at is null order by d.id desc limit 1
) d on true
left join lateral (
    select h.requested_at, h.counted_as from evergrant.held_revocations h
    where h.grant_id = g.id and {IS_STILL_HELD} order by h.id limit 1
) h on true
where g.id = :id
""")  # noqa: S608  # constants

PROCESSES = text("""
select kind, host, pid, seen_at, seen_at > clock_timestamp() - cast(:silent_after as interval) as alive, environment,
    refresh_key_ids, access_key_ids, consumed_at, fault
from evergrant.processes where kind in ('beat', 'worker') order by kind, host, pid
""")

# Those that may hold its answer; in an incident also those that all of them wait for.
JOURNALS = text(f"""
select j.id, j.host, j.seen_at, j.damage, j.id = any (cast(:ids as bigint[])) as may_hold_it,
    i.incident_at is not null and j.replayed_incident is distinct from i.incident_no as is_awaited,
    j.seen_at > clock_timestamp() - cast(:silent_after as interval) as alive
from evergrant.journals j left join evergrant.installation i on true
where {IS_UNDRAINED} and (
    j.id = any (cast(:ids as bigint[]))
    or i.incident_at is not null and j.replayed_incident is distinct from i.incident_no
)
order by j.id
""")  # noqa: S608  # constants


@dataclass(frozen=True, slots=True)
class Standing:
    """One grant, and what it depends on."""

    row: RowMapping
    processes: Sequence[RowMapping]
    journals: Sequence[RowMapping]


def of_grant(connection: Connection, grant_id: UUID) -> Standing:
    """How a grant stands now."""
    row = connection.execute(STANDING, {"id": grant_id}).mappings().one()
    silent: dict[str, Any] = {"silent_after": SILENT_AFTER}
    processes = connection.execute(PROCESSES, silent).mappings().all()
    ids = [*row["doubt_journals"], *([row["journal_id"]] if row["started_at"] and row["journal_id"] else [])]
    if not ids and row["incident_at"] is None:
        return Standing(row, processes, [])
    return Standing(row, processes, connection.execute(JOURNALS, silent | {"ids": ids}).mappings().all())
