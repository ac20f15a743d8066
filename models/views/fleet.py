"""The fleet at a glance: counts, lateness, runway, valves, and who is alive. Reads only."""

from datetime import timedelta

from sqlalchemy import Connection, RowMapping, TextClause, text

from models.predicates import (
    END_IS_ASKED_FOR,
    IS_STILL_HELD,
    IS_STUCK,
    IS_UNDRAINED,
    SOMEBODY_HAS_IT,
    WAITS_FOR_IT,
    ends_soon_at,
    of,
)
from models.views.listing import IS_REFUSED_ALONE

# Beats, workers and webs say every five seconds that they live; this allows for a slow machine.
SILENT_AFTER = timedelta(seconds=30)

# Whether its client is paused is asked of what comes out: a look at valves for each grant would cost the pass its
# parallel workers (measured at 300 000: 0.2 s, and 0.45).
ENDS_SOON = ends_soon_at(not_renewed=IS_STUCK)
ENDS_SOON_IF_PAUSED = ends_soon_at(not_renewed="true")

# One pass over the grants, which counts without asking what a row means to whom: that is told of the few rows that come
# out of it (measured: half of the time at a million). Runway: until the first access token that is kept warm lapses, if
# all stood still, and how many will have lapsed 10, 20 and 40 minutes from now.
BY_CLIENT = text(
    f"""
with counted as (
    select g.client_id, g.status, g.keep, r.id is not null as ending, count(*) as grants,
        count(*) filter (where g.due_at <= statement_timestamp()) as due,
        min(g.due_at) filter (where g.due_at <= statement_timestamp()) as first_due_at,
        count(*) filter (
            where g.due_at > statement_timestamp() and {SOMEBODY_HAS_IT}
        ) as under_way,
        count(*) filter (where g.failures > 0) as failing,
        count(g.doubt_since) as in_doubt,
        count(g.suspect_at) as suspect,
        count(*) filter (where g.access_expires_at <= statement_timestamp()) as lapsed,
        count({ENDS_SOON}) as expiring, min({ENDS_SOON}) as first_expires_at,
        count({ENDS_SOON_IF_PAUSED}) as expiring_if_paused, min({ENDS_SOON_IF_PAUSED}) as first_expires_at_if_paused,
        count(*) filter (where g.access_expires_at <= statement_timestamp() + interval '10 minutes') as in_10m,
        count(*) filter (where g.access_expires_at <= statement_timestamp() + interval '20 minutes') as in_20m,
        count(*) filter (where g.access_expires_at <= statement_timestamp() + interval '40 minutes') as in_40m,
        min(g.access_expires_at) filter (where g.access_expires_at > statement_timestamp()) as first_ends_at
    from evergrant.grants g
    left join evergrant.revocations r on r.grant_id = g.id
    group by 1, 2, 3, 4
),
told as (
    select n.*, n.status in ('active', 'paused') and not n.ending as may_expire,
        v.paused_by_operator as client_paused, a.active,
        a.active and coalesce(n.keep, c.keep) = 'warm' as warm
    from counted n
    join evergrant.clients c on c.id = n.client_id
    join evergrant.valves v on v.client_id = n.client_id
    cross join lateral (select n.status = 'active' and not n.ending as active) a
),
fleet as (
    select n.client_id,
        (sum(n.grants) filter (where n.active))::bigint as active,
        (sum(n.grants) filter (where n.status = 'paused' and not n.ending))::bigint as paused,
        (sum(n.grants) filter (where n.status = 'needs_consent' and not n.ending))::bigint as needs_consent,
        (sum(n.grants) filter (where n.status = 'revoking' or n.ending and n.status <> 'revoked'))::bigint as revoking,
        (sum(n.grants) filter (where n.status = 'revoked'))::bigint as revoked,
        (sum(n.due) filter (where n.active))::bigint as due,
        sum(n.under_way)::bigint as under_way,
        (sum(n.failing) filter (where n.active))::bigint as failing,
        (sum(n.in_doubt) filter (where n.active))::bigint as in_doubt,
        (sum(n.suspect) filter (where n.active))::bigint as suspect,
        (sum(n.lapsed) filter (where n.warm))::bigint as lapsed,
        (sum(case when n.client_paused then n.expiring_if_paused else n.expiring end)
            filter (where n.may_expire))::bigint as expiring,
        min(case when n.client_paused then n.first_expires_at_if_paused else n.first_expires_at end)
            filter (where n.may_expire) as first_expires_at,
        min(n.first_due_at) filter (where n.active) as first_due_at,
        min(n.first_ends_at) filter (where n.warm) as first_ends_at,
        (sum(n.in_10m - n.lapsed) filter (where n.warm))::bigint as ending_10m,
        (sum(n.in_20m - n.lapsed) filter (where n.warm))::bigint as ending_20m,
        (sum(n.in_40m - n.lapsed) filter (where n.warm))::bigint as ending_40m
    from told n
    group by n.client_id
)
select c.id, c.name, c.provider, c.rotation, c.drift, c.rate_per_minute, c.burst, v.next_slot_at,
    v.paused_by_operator, v.paused_until, v.pause_reason, w.slowed_by, w.slowed_from, w.slowed_code,
    case when n.suspect > 0 then v.deaths_held_at end as deaths_held_at,
    statement_timestamp() - n.first_due_at as lateness, n.first_ends_at - statement_timestamp() as runway,
    coalesce(n.active, 0) as active, coalesce(n.paused, 0) as paused, coalesce(n.needs_consent, 0) as needs_consent,
    coalesce(n.revoking, 0) as revoking, coalesce(n.revoked, 0) as revoked, coalesce(n.due, 0) as due,
    coalesce(n.under_way, 0) as under_way, coalesce(n.failing, 0) as failing, coalesce(n.in_doubt, 0) as in_doubt,
    coalesce(n.suspect, 0) as suspect, coalesce(n.lapsed, 0) as lapsed,
    coalesce(n.expiring, 0) as expiring, n.first_expires_at, coalesce(n.ending_10m, 0) as ending_10m,
    coalesce(n.ending_20m, 0) as ending_20m, coalesce(n.ending_40m, 0) as ending_40m
from evergrant.clients c
left join evergrant.valves v on v.client_id = c.id
left join evergrant.witnesses w on w.client_id = c.id
left join fleet n on n.client_id = c.id
order by c.name
"""  # noqa: S608  # constants
)

PROCESSES = text("""
select kind, host, pid, metrics_port, started_at, seen_at,
    seen_at > clock_timestamp() - cast(:silent_after as interval) as alive,
    environment, refresh_key_ids, access_key_ids, consumed_at, fault, disk_free, ignored_variables,
    extract(epoch from seen_at - clock_at)::float8 as clock_behind_seconds
from evergrant.processes order by kind, host, pid
""")

# Handed out, and no worker has taken them up; by the small index of what somebody has. One of 1970 was not handed out.
UNTAKEN = text("""
select count(*) as grants, min(n.claimed_at) as since, (
    select max(coalesce(c.done_at, i.adopted_at))
    from evergrant.chores c left join evergrant.installation i on true
) as worked_at
from (
    select g.claimed_at from evergrant.grants g
    where g.claimed_at > 'epoch' and g.started_at is null and g.due_at > clock_timestamp()
    limit 10000
) n
""")

# What those fail with who fail, by the small index of them.
FAILING = text(f"""
select c.name as client, g.last_error_code as code, count(*) as grants,
    min(coalesce(g.failing_since, g.last_error_at)) as since, min(g.ref) as example,
    bool_and({IS_REFUSED_ALONE}) as alone, max(g.last_error_shape) as shape
from evergrant.grants g
join evergrant.clients c on c.id = g.client_id
left join evergrant.witnesses w on w.client_id = g.client_id
where g.status = 'active' and g.failures > 0 and g.last_error_code is not null
group by c.name, g.last_error_code
order by c.name, grants desc, code
""")  # noqa: S608  # constants
SUSPECTS = text("""
select c.name as client, count(*) as grants, min(g.suspect_at) as since, min(g.ref) as example
from evergrant.grants g join evergrant.clients c on c.id = g.client_id
where g.status = 'active' and g.suspect_at is not null
group by c.name
order by c.name
""")

OPEN_LETTERS = text("""
select cause, count(*) as count from evergrant.dead_letters where resolved_at is null group by cause order by cause
""")

REVOCATIONS = text(f"""
select status, count(*) as count from evergrant.revocations where status in ('queued', 'dead') group by status
union all
select 'held', count(distinct h.grant_id) from evergrant.held_revocations h where {IS_STILL_HELD}
""")  # noqa: S608  # constants

# A journal that nobody holds and that grants wait for needs a human, sooner or later.
WAITED_FOR = text(f"""
select count(*) as count from evergrant.journals j
where {IS_UNDRAINED}
    and j.seen_at < clock_timestamp() - cast(:silent_after as interval)
    and exists (select from evergrant.grants g where {WAITS_FOR_IT})
""")  # noqa: S608  # constants

# Also while no grant waits for it: one may hold an answer of a grant that the database has forgotten.
DAMAGED = text(f"""
select j.id, j.host, j.damaged_at, j.damage from evergrant.journals j
where {IS_UNDRAINED} and j.damage is not null order by j.id
""")  # noqa: S608  # constants

# Work that fails each time is noted as done no more. Five minutes at least, for a machine that is slow or was off.
OVERDUE_CHORES = text("""
select c.name, c.done_at from evergrant.chores c left join evergrant.installation i on true
where coalesce(c.done_at, i.adopted_at) < clock_timestamp() - greatest(3 * c.every, interval '5 minutes')
order by c.name
""")


def by_client(connection: Connection) -> list[RowMapping]:
    """Counts and valve of each client, by name."""
    return list(connection.execute(BY_CLIENT).mappings())


SECRETS_REFUSED = text("""
select name, secret_refused_code as code, former_secret_at as changed_at, secret_refused_at as tried_at
from evergrant.clients where secret_refused_at is not null order by name
""")


def secrets_refused(connection: Connection) -> list[RowMapping]:
    """Clients whose new secret was refused, so that they use the former one; by name."""
    return list(connection.execute(SECRETS_REFUSED).mappings())


# What there is to be kept: the lives of those that are kept warm, of which some never had a token set.
KEPT = text(f"""
select c.name, c.provider, c.overrides, c.keep,
    count(*) filter (where g.warm) as warm,
    count(*) filter (where g.warm and g.life is null) as unknown_life,
    coalesce(sum(1 / extract(epoch from g.life)::float8) filter (where g.warm and g.life > '0'), 0) as per_second,
    count(*) filter (where not g.warm) as on_demand,
    count(*) filter (where not g.warm and g.idle > '0') as known_idle,
    coalesce(sum(1 / extract(epoch from g.idle)::float8) filter (where not g.warm and g.idle > '0'), 0)
        as idle_per_second
from evergrant.clients c
left join lateral (
    select a.life, a.refresh_expires_at - a.refreshed_at as idle, coalesce(a.keep, c.keep) = 'warm' as warm
    from evergrant.grants a
    where a.client_id = c.id and a.status = 'active'
        and not {of("a", END_IS_ASKED_FOR)}
) g on true
group by c.id
order by c.name
""")  # noqa: S608  # constants


def kept(connection: Connection) -> list[RowMapping]:
    """What each client has to keep: grants warm and on demand, and how often a second the lives of the warm ones end.

    `unknown_life`: those of the warm ones whose life is not known yet, for which `per_second` has nothing. Of those on
    demand the refresh tokens of `known_idle` end `idle_per_second` times a second, if nobody renews them.
    """
    return list(connection.execute(KEPT).mappings())


def processes(connection: Connection) -> list[RowMapping]:
    """Every beat, worker and web that did not sign off, and whether it was heard of lately."""
    return list(connection.execute(PROCESSES, {"silent_after": SILENT_AFTER}).mappings())


def untaken(connection: Connection) -> RowMapping:
    """How many grants were handed out and not taken up, since when; and when a worker last did periodic work."""
    return connection.execute(UNTAKEN).mappings().one()


def failing(connection: Connection) -> list[RowMapping]:
    """What the failing grants of each client fail with, how many, since when; `alone`: while others are well."""
    return list(connection.execute(FAILING).mappings())


def suspects(connection: Connection) -> list[RowMapping]:
    """How many grants of each client are suspect, and since when."""
    return list(connection.execute(SUSPECTS).mappings())


def open_dead_letters(connection: Connection) -> dict[str, int]:
    """The open dead letters by cause."""
    return _counts(connection, OPEN_LETTERS)


def open_revocations(connection: Connection) -> dict[str, int]:
    """The revocations that have not ended, by status: queued, dead, or held before they are."""
    return _counts(connection, REVOCATIONS)


def journals_waited_for(connection: Connection) -> int:
    """Journals without a living holder that grants in doubt wait for."""
    return int(connection.execute(WAITED_FOR, {"silent_after": SILENT_AFTER}).scalar_one())


def damaged_journals(connection: Connection) -> list[RowMapping]:
    """The journals that cannot be read to their end, and why; by number."""
    return list(connection.execute(DAMAGED).mappings())


def overdue_chores(connection: Connection) -> list[RowMapping]:
    """The chores that were not done for three of their intervals, and when each last was; null: never."""
    return list(connection.execute(OVERDUE_CHORES).mappings())


def clock(connection: Connection) -> RowMapping:
    """The database's time, its name for this environment, its own name and that of the one that was adopted."""
    query = """
        select clock.at, i.environment, current_database()::text as database_name, i.database_name as adopted_name
        from (select clock_timestamp() as at) clock left join evergrant.installation i on true"""
    return connection.execute(text(query)).mappings().one()


def _counts(connection: Connection, query: TextClause) -> dict[str, int]:
    return {str(what): int(count) for what, count in connection.execute(query)}
